//! All SQL of sessions and their messages, by what it is about.
//!
//! A session's row says how it stands and who has it ([`held`], [`lease`]), what is wished of its turns ([`wishes`]),
//! and where its messages end that were not taken back ([`taken_back`]). Its events, turns, instances and what it asks
//! have tables and stores of their own, beside what they are about (`log/`, `turns/`, `instances/`, `permissions/`).

mod conversation;
mod family;
mod held;
mod lease;
mod messages;
mod new;
mod shown;
mod sweep;
mod taken_back;
mod used;
mod wishes;

pub(super) use self::{conversation::*, lease::*, new::*, sweep::*, wishes::*};
pub(crate) use self::{family::*, held::*, messages::*, shown::*, taken_back::*, used::*};
