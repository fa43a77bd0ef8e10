//! What every route shares: reading bodies, naming requests, rendering errors,
//! limiting rates. Knows no domain.

pub mod body;
pub mod context;
pub(crate) mod digest;
pub mod etag;
pub mod extract;
pub mod multipart;
pub mod page;
pub mod rate_limit;
pub mod render;

pub use body::{Form, Json, NoContent};
pub use context::RequestContext;
pub(crate) use context::own_origin;
pub use extract::Params;
pub use page::{Page, Paged};
