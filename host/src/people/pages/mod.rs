//! Pages for people, made by the server: signing in, and letting a command line in (rows M065, M082).
//!
//! `/login` signs somebody in, as `POST /v1/auth/login` does; `/device` asks for the code that a program shows, tells
//! what asks for what, and takes the decision, as `/platform/v1/auth/device/…` do; `/oauth/authorize` does that for a
//! program that opened the browser; `/logout` ends the session. What is decided, counted and written down is in the
//! operations that the API's routes call as well.
//!
//! Forms and nothing else: no script, nothing from elsewhere, one style whose digest is in the policy of each page.
//! A form counts in the browser it was shown in (`grants::cookie`). A code is looked up when a form with it was sent,
//! and a program is let in by a second form, which shows what it asks for: no link does either.
//!
//! - `markup`: HTML in which what is not ours is escaped. `frame`: what all pages have in common.
//! - `login`, `device`, `authorize`: the pages; `decider`: what the last two have in common. `onward`: where somebody was
//!   going who is asked to sign in. [`routes`], [`authorize_routes`]: their HTTP. [`oauth`]: to another provider of
//!   accounts and back.
//!
//! Deliberately absent: signing up, and everything else of an account: that is the console's.

mod authorize;
pub mod authorize_routes;
mod decider;
mod device;
mod frame;
mod login;
mod markup;
pub mod oauth;
mod onward;
pub mod routes;
