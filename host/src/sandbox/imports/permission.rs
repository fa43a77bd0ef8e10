//! `opg:host/permission`.

use crate::sandbox::bindings::host::permission::{Error, Host, Question};
use crate::sandbox::door;
use crate::sandbox::limits::PERSON_TIME_MAX;
use crate::sandbox::state::GuestState;

impl Host for GuestState {
    async fn ask(&mut self, question: Question) -> wasmtime::Result<Result<(), Error>> {
        let Question { action, patterns, always, details } = question;
        let question = door::Question { action, patterns, always, details };
        let door = self.host.door.clone();
        let _put_off = self.host.deadline.put_off(PERSON_TIME_MAX);
        Ok(self.host.ask(async move { door.ask_permission(question).await }).await.map_err(Error::from))
    }
}
