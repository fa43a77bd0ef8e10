//! The OpenAI chat dialect, both ways.
//!
//! In: [`request`] reads what a client asks, [`chunks`] writes what it gets. Out: [`encode`] writes what a
//! provider is asked, [`decode`] reads what it answers.

pub mod chunks;
pub mod decode;
pub mod encode;
pub mod request;
