//! All SQL of people, their credentials and memberships, by what they are about.

mod accounts;
mod authorizations;
mod codes;
mod credentials;
mod devices;
mod identities;
mod members;
mod passkeys;
mod personal_tokens;

pub(super) use self::{
    accounts::*, authorizations::*, codes::*, credentials::*, devices::*, identities::*, members::*,
    passkeys::*, personal_tokens::*,
};
