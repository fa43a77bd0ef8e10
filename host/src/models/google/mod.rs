//! Google's `generateContent`, as a provider: [`encode`] writes what it is asked, [`decode`] reads what it answers.

pub mod decode;
pub mod encode;
