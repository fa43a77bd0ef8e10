//! Chat: one request, answered by an agent or by a model.
//!
//! It comes in OpenAI's chat shape ([`completions`]), in Anthropic's ([`messages`]) or in that of OpenAI's responses
//! ([`responses`]), is turned into the first, and is answered in its own: [`dialect`].
//!
//! An agent runs when the request names one, when the app uploaded a `default`,
//! or when the app has tools; otherwise the request goes to the model as it is
//! (row M014). Tools the client declared come back as `tool_calls`; tools of
//! the app run inside and are not seen (M015). Without a session nothing of the
//! request remains but its ledger and audit rows.
//!
//! A client that goes away cancels everything behind its request: the answer's
//! stream owns the run, and dropping it drops the guest and the upstream call.

pub mod answer;
pub mod completions;
pub mod count;
pub mod dialect;
pub mod embed;
pub mod messages;
pub mod responses;
pub mod routes;
pub mod send;
pub mod stream;
