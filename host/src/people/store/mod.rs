//! All SQL of people, their credentials and memberships, by what they are about.

mod accounts;
mod authorizations;
mod codes;
mod credentials;
mod devices;
mod identities;
mod invitations;
mod members;
mod passkeys;
mod personal_tokens;
mod users;

pub(super) use self::{
    accounts::*, authorizations::*, codes::*, credentials::*, devices::*, identities::*, invitations::*,
    members::*, passkeys::*, personal_tokens::*, users::*,
};
