//! OpenAI's responses dialect, both ways.
//!
//! In: [`request`] reads what a client asks, [`events`] writes what it gets. Out: [`encode`] writes what a
//! provider is asked, [`decode`] reads what it answers. Nothing is stored on either side: a client sends the
//! whole conversation, or names a session of OPG's.

pub mod decode;
pub mod encode;
pub mod events;
pub mod request;
