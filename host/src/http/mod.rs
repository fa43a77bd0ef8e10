//! What every route shares: reading bodies, naming requests, rendering errors,
//! limiting rates, and what pages of other origins may read. Knows no domain, but apps by their names.

pub mod body;
pub mod context;
pub(crate) mod cors;
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
