//! All SQL of people, their credentials and memberships, by what they are about.

mod accounts;
mod codes;
mod credentials;
mod devices;
mod members;
mod personal_tokens;

pub(super) use self::{accounts::*, codes::*, credentials::*, devices::*, members::*, personal_tokens::*};
