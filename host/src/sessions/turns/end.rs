//! How a turn ends: with its answer, or cut.

use super::{
    Reason, Running, State, drive,
    live::{Live, LiveError},
    store,
    transcript::Steps,
};
use crate::{
    app::App,
    grants::{Acting, InApp},
    limits::EVENTS_KEPT_MAX,
    models::Usage,
    sessions::{
        Status,
        context::Context,
        log::{self, Draft, Kind, Written},
        messages::{self, MessageKind, NewMessage},
        permissions, status, store as sessions, subagents,
    },
};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

/// What an answer came to.
pub(super) struct Answer {
    /// The messages it added, as the agent says.
    pub(super) messages: Vec<Value>,
    /// Why it ended: `stop`, `length`, ….
    pub(super) finish: &'static str,
    /// What its model calls used, those of agents below it too.
    pub(super) usage: Usage,
    /// How long the conversation has become, where that is known.
    pub(super) context: Option<Context>,
    /// The summary that it is, in the place of messages.
    pub(super) summary: Option<String>,
}

impl Answer {
    /// What it says last.
    pub(super) fn last_words(&self) -> String {
        let said = self.messages.iter().rev().find(|message| message["role"] == "assistant");
        said.and_then(|message| message["content"].as_str()).unwrap_or_default().to_owned()
    }
}

/// Why a turn was ended that was a part of another.
pub(crate) const ABOVE_ENDED: &str = "the turn that asked for it has ended";

/// Ends a turn with its answer, in one transaction.
///
/// # Errors
/// [`LiveError::Lost`] where somebody else ended it before.
pub(super) async fn complete(
    app: &App,
    acting: &Acting,
    turn: Running,
    token: Uuid,
    live: &mut Live,
    answer: Answer,
) -> Result<(), LiveError> {
    let now = app.now();
    let expires_at = now + app.config.session_ttl;
    let turn_id = Some(turn.turn_id);
    let mut tx = app.tenant_tx(acting).await?;
    if sessions::release(&mut tx, turn.session_id, token, now, expires_at).await?.is_none() {
        return Err(LiveError::Lost);
    }
    store::end(tx.conn(), turn.turn_id, State::Done, None, now).await?;
    let mut drafts = live.take();
    let (below, told_below) = cut_below(app, tx.conn(), turn).await?;
    drafts.extend(below);
    if let Some(text) = answer.summary {
        sessions::forget_reverted(tx.conn(), turn.session_id).await?;
        let summary = NewMessage {
            message_id: store::message_of(tx.conn(), turn.turn_id).await?,
            turn_id,
            message: json!({ "role": "assistant", "content": text }),
            reasoning: None,
            kind: MessageKind::Summary,
        };
        drafts.extend(keep(app, tx.conn(), turn, vec![summary]).await?);
    }
    let (named, untrue) =
        std::mem::take(&mut live.steps).name(turn.turn_id, answer.messages, || app.new_id());
    drafts.extend(
        untrue
            .into_iter()
            .map(|message_id| Draft::new(Kind::MessageRemoved, turn_id, json!({ "message_id": message_id }))),
    );
    drafts.extend(keep(app, tx.conn(), turn, named).await?);
    drafts.push(Draft::new(Kind::TokenUsage, turn_id, json!(answer.usage)));
    if let Some(context) = answer.context {
        sessions::set_context(tx.conn(), turn.session_id, Some(context)).await?;
        drafts.push(context.told(turn.turn_id));
    }
    drafts.extend(permissions::close(tx.conn(), turn.turn_id, now).await?);
    drafts.push(ended(turn, State::Done, json!({ "finish_reason": answer.finish })));
    drafts.extend(status::go(tx.conn(), turn.session_id, Status::Idle, None).await?);
    let written = log::write(app, tx.conn(), (turn.session_id, turn.app_id), drafts).await?;
    log::store::prune(tx.conn(), turn.session_id, EVENTS_KEPT_MAX).await?;
    tx.commit().await?;
    written.with(told_below).tell(app);
    Ok(())
}

/// [`cut`], which ends what is below as well.
fn cut_boxed<'a>(
    app: &'a App,
    conn: &'a mut PgConnection,
    turn: Running,
    state: State,
    reason: &'a Reason,
) -> BoxFuture<'a, sqlx::Result<Option<Written>>> {
    Box::pin(cut(app, conn, turn, state, reason))
}

/// Ends what other agents still do for a turn; what is told of it, in its log and in theirs. The caller holds the
/// session's row: rows of sessions below come after it.
async fn cut_below(
    app: &App,
    conn: &mut PgConnection,
    above: Running,
) -> sqlx::Result<(Vec<Draft>, Vec<Written>)> {
    let (mut drafts, mut told) = (vec![], vec![]);
    for (session_id, turn_id) in subagents::store::running_for(conn, above.turn_id).await? {
        sessions::lock_of_any(conn, session_id).await?;
        let below = Running { session_id, app_id: above.app_id, turn_id };
        let reason = Reason::new("aborted", ABOVE_ENDED);
        if let Some(written) = cut_boxed(app, conn, below, State::Aborted, &reason).await? {
            told.push(written);
            let (state, why) = (State::Aborted.name(), Some(ABOVE_ENDED));
            drafts.push(subagents::run::finished_draft(above, below, state, why));
        }
    }
    Ok((drafts, told))
}

/// Ends the turn that runs in a session without an answer: what it said so far stays. The caller holds the session's
/// row, commits, tells, and then lets the next one begin ([`after_cut`]). None where it had ended.
///
/// # Errors
/// The database's.
pub(crate) async fn cut(
    app: &App,
    conn: &mut PgConnection,
    turn: Running,
    state: State,
    reason: &Reason,
) -> sqlx::Result<Option<Written>> {
    let now = app.now();
    if store::end(conn, turn.turn_id, state, Some(&reason.message), now).await?.is_none() {
        return Ok(None);
    }
    store::tell_cut(conn, turn.turn_id).await?;
    sessions::let_go(conn, turn.session_id).await?;
    let told = log::store::of_turn(conn, turn.session_id, turn.turn_id).await?;
    let said = Steps::of_events(&told).into_messages(turn.turn_id);
    let mut drafts = keep(app, conn, turn, said).await?;
    let (below, told_below) = cut_below(app, conn, turn).await?;
    drafts.extend(below);
    drafts.extend(permissions::close(conn, turn.turn_id, now).await?);
    drafts.push(ended(turn, state, json!({ "reason": reason })));
    drafts.extend(status::go(conn, turn.session_id, Status::Idle, None).await?);
    let written = log::write(app, conn, (turn.session_id, turn.app_id), drafts).await?;
    log::store::prune(conn, turn.session_id, EVENTS_KEPT_MAX).await?;
    Ok(Some(written.with(told_below)))
}

/// Ends the turn of a session whose lease has run out: its host died. The caller holds the session's row and has seen
/// that the lease has run out.
///
/// # Errors
/// The database's.
pub(crate) async fn overdue(
    app: &App,
    conn: &mut PgConnection,
    (session_id, app_id): (Uuid, Uuid),
) -> sqlx::Result<Option<Written>> {
    let Some(turn_id) = store::running(conn, session_id).await? else { return Ok(None) };
    let reason =
        Reason::new("host_lost", "the host that ran this turn stopped; what it had said is kept, ask again");
    cut(app, conn, Running { session_id, app_id, turn_id }, State::Failed, &reason).await
}

/// Stops what runs of a turn that was cut, here; other hosts were told by the commit.
pub(crate) fn after_cut(app: &App, turn: Running) {
    app.running_turns.cut(turn.turn_id);
    drive::drive(app, turn.session_id);
}

/// Ends a turn that waits, without its having begun. Nothing of it is in the history, and its message is taken back.
///
/// # Errors
/// The database's.
pub(crate) async fn drop_waiting(
    app: &App,
    conn: &mut PgConnection,
    turn: Running,
    state: State,
    reason: &Reason,
) -> sqlx::Result<Written> {
    let ended_now = store::end(conn, turn.turn_id, state, Some(&reason.message), app.now()).await?;
    let Some(message_id) = ended_now else { return Ok(Written::nothing(turn.session_id)) };
    let drafts = vec![
        Draft::new(Kind::MessageRemoved, Some(turn.turn_id), json!({ "message_id": message_id })),
        ended(turn, state, json!({ "reason": reason })),
    ];
    log::write(app, conn, (turn.session_id, turn.app_id), drafts).await
}

/// Adds messages, and what is told of them.
async fn keep(
    app: &App,
    conn: &mut PgConnection,
    turn: Running,
    new: Vec<NewMessage>,
) -> sqlx::Result<Vec<Draft>> {
    let kept = sessions::append(conn, (turn.session_id, turn.app_id), &new, None, app.now()).await?;
    let views = messages::views(kept).into_iter();
    Ok(views.map(|(_, view)| Draft::new(Kind::MessageComplete, Some(turn.turn_id), view.told())).collect())
}

fn ended(turn: Running, state: State, more: Value) -> Draft {
    let mut data = json!({ "state": state });
    if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
        data.extend(more);
    }
    Draft::new(Kind::TurnEnded, Some(turn.turn_id), data)
}

/// Cuts a turn whose own run found that it cannot go on.
pub(in crate::sessions) async fn fail(
    app: &App,
    acting: &Acting,
    turn: Running,
    state: State,
    reason: Reason,
) -> sqlx::Result<()> {
    debug_assert_eq!(acting.app().app_id, turn.app_id, "a turn runs in its own app");
    let mut tx = app.tenant_tx(acting).await?;
    sessions::lock(&mut tx, turn.session_id).await?;
    let Some(written) = cut(app, tx.conn(), turn, state, &reason).await? else { return Ok(()) };
    tx.commit().await?;
    written.tell(app);
    Ok(())
}
