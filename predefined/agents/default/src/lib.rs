//! The agent OPG ships: ask the model, run the tools it calls, ask again, until
//! it has an answer.
//!
//! Markdown agents run on it too: their text comes in as the instructions.
//!
//! Deliberately absent: memory beyond the messages of the turn, and any choice
//! of what to keep of a long conversation; both are the host's.

mod calls;
mod options;
mod turn;

use opg_guest::model::{Completion, Event};
use opg_guest::tools::{Definition, Invocation};
use opg_guest::*;

/// Answers with the model that was asked for, and calls the app's tools where
/// they help.
#[agent(model("*", "to ask the model the caller chose"), tool("*", "to run the tools the model calls"))]
fn run(turn: Turn) -> Result<Outcome, Error> {
    turn::run(turn, &mut Opg)
}

/// What the loop needs of the outside, so that tests can stand in for it.
trait Host {
    type Completion: Iterator<Item = Result<Event, Error>>;

    fn available_tools(&mut self) -> Result<Vec<Definition>, Error>;
    fn complete(&mut self, request: &Value) -> Result<Self::Completion, Error>;
    /// Side by side; one answer for each call, in order.
    fn call_tools(&mut self, calls: &[Invocation]) -> Vec<Result<String, Error>>;
    fn emit(&mut self, event: Value) -> Result<(), Error>;
}

/// The real outside.
struct Opg;

impl Host for Opg {
    type Completion = Completion;

    fn available_tools(&mut self) -> Result<Vec<Definition>, Error> {
        tools::available()
    }

    fn complete(&mut self, request: &Value) -> Result<Completion, Error> {
        model::complete(request)
    }

    fn call_tools(&mut self, calls: &[Invocation]) -> Vec<Result<String, Error>> {
        tools::call_all(calls)
    }

    fn emit(&mut self, event: Value) -> Result<(), Error> {
        events::emit(&event)
    }
}
