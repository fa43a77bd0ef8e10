//! Anthropic's messages dialect, both ways.
//!
//! In: [`request`] reads what a client asks, [`events`] writes what it gets. Out: [`encode`] writes what a
//! provider is asked, [`decode`] reads what it answers.

pub mod decode;
pub mod encode;
pub mod events;
pub mod paused;
pub mod request;
