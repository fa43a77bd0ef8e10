//! Google's `generateContent`, as a provider: [`encode`] writes what it is asked, [`decode`] reads what it answers.
//! Pictures and speech are [`media`]'s.

pub mod decode;
pub mod encode;
pub mod media;
mod wav;
