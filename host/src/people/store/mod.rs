//! All SQL of people, their credentials and memberships, by what they are about.

mod accounts;
mod codes;
mod credentials;
mod devices;
mod identities;
mod invitations;
mod members;
mod personal_tokens;
mod users;

pub(super) use self::{
    accounts::*, codes::*, credentials::*, devices::*, identities::*, invitations::*, members::*,
    personal_tokens::*, users::*,
};
