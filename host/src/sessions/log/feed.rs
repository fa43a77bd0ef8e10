//! Reading the logs of all sessions of an owner at once, from now on.
//!
//! What happened before is not told again: that is in the sessions' own logs
//! and messages. Of each session events come in order and without a gap. Other
//! hosts, and this one by the database, may tell of what is written a moment
//! later; so where each log stood is looked up at the beginning.

use super::{Event, Owner, Place, TooManyReaders, hub::OwnerSignal, read::End, store};
use crate::{
    app::App,
    grants::{Acting, InApp, Live},
    guests::standing::live_now,
    limits::EVENTS_PER_READ,
};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use uuid::Uuid;

/// Sessions whose place a reader remembers: those an owner uses in a day. Beyond it, it starts to remember anew; the
/// next events of a session say themselves where they begin.
const PLACES_MAX: usize = 1000;
/// Sessions that are remembered to be gone: that is heard of twice, from whoever deleted it and from the database.
const GONE_REMEMBERED_MAX: usize = 256;

/// What comes next.
#[derive(Clone, Debug)]
pub enum News {
    /// This happened.
    Event(Arc<Event>),
    /// This session was deleted.
    Gone(Uuid),
    /// Something may have happened of which nothing was heard: read the sessions again.
    Missed,
    /// The reader is still there, and still may.
    Heartbeat,
    /// The last: why there are no more.
    End(End),
}

/// Why they cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Too many do.
    #[error("{0}")]
    TooMany(#[from] TooManyReaders),
    /// The database.
    #[error("where the logs stand could not be read")]
    Db(#[from] sqlx::Error),
}

/// A reader of all logs of one owner. It takes no connection while it waits.
pub struct Feed {
    app: App,
    acting: Acting,
    signals: Receiver<OwnerSignal>,
    /// By session: the last event it handed out, or has in `ready`.
    places: HashMap<Uuid, i64>,
    gone: VecDeque<Uuid>,
    ready: VecDeque<News>,
    /// What is to be read from the log: of which session, up to which event.
    behind: Option<(Uuid, i64)>,
    every: Duration,
    look_at: Instant,
    over: bool,
    /// Its place among the readers.
    _place: Place,
}

impl Feed {
    /// Reads from now on, with a heartbeat at this interval.
    ///
    /// # Errors
    /// [`FeedError`]
    pub async fn open(app: &App, proof: &impl InApp, every: Duration) -> Result<Feed, FeedError> {
        let place = app.readers.enter(proof.app().app_id, None)?;
        let owner = Owner::of(proof);
        // Before the look-up: what is written after it is heard.
        let signals = app.session_hub.subscribe_all(owner);
        let mut tx = app.tenant_tx(proof).await?;
        let places = store::places(&mut tx, owner, PLACES_MAX).await?;
        drop(tx);
        Ok(Feed {
            app: app.clone(),
            acting: Acting::of(proof),
            signals,
            places,
            gone: VecDeque::new(),
            ready: VecDeque::new(),
            behind: None,
            every,
            look_at: Instant::now() + every,
            over: false,
            _place: place,
        })
    }

    /// The next; none after the end.
    pub async fn next(&mut self) -> Option<News> {
        if self.over {
            return None;
        }
        let news = self.find().await;
        self.over = matches!(news, News::End(_));
        Some(news)
    }

    async fn find(&mut self) -> News {
        loop {
            if Instant::now() >= self.look_at {
                self.look_at = Instant::now() + self.every;
                return self.look_around().await;
            }
            if let Some(news) = self.ready.pop_front() {
                return news;
            }
            if let Some((session_id, until)) = self.behind.take() {
                if let Err(cause) = self.read_on(session_id, until).await {
                    tracing::warn!(%cause, %session_id, "a session's log could not be read");
                    return News::End(End::Unavailable);
                }
                continue;
            }
            if let Some(news) = self.wait().await {
                return news;
            }
        }
    }

    /// Waits for a signal; news where there is something to say besides events.
    async fn wait(&mut self) -> Option<News> {
        let stopping = self.app.stopping.clone();
        tokio::select! {
            signal = self.signals.recv() => match signal {
                Ok(OwnerSignal::Written { session_id, first_seq, last_seq, events }) => {
                    self.written(session_id, (first_seq, last_seq), events);
                    None
                }
                Ok(OwnerSignal::Gone(session_id)) => self.went(session_id),
                Ok(OwnerSignal::Missed) => Some(News::Missed),
                Err(RecvError::Closed) => Some(News::End(End::Stopping)),
                Err(RecvError::Lagged(_)) => Some(News::End(End::TooSlow)),
            },
            () = stopping.cancelled() => Some(News::End(End::Stopping)),
            () = tokio::time::sleep_until(self.look_at.into()) => None,
        }
    }

    fn written(&mut self, session_id: Uuid, (first, last): (i64, i64), events: Vec<Arc<Event>>) {
        if self.places.len() >= PLACES_MAX && !self.places.contains_key(&session_id) {
            self.places.clear();
        }
        let place = self.places.entry(session_id).or_insert(first - 1);
        // Heard of twice: from the writer, and from the database.
        if last <= *place {
            return;
        }
        if events.is_empty() || first > *place + 1 {
            self.behind = Some((session_id, last));
            return;
        }
        let fresh = events.into_iter().filter(|event| event.seq > *place).map(News::Event);
        self.ready.extend(fresh);
        *place = last;
    }

    fn went(&mut self, session_id: Uuid) -> Option<News> {
        if self.gone.contains(&session_id) {
            return None;
        }
        self.places.remove(&session_id);
        self.gone.truncate(GONE_REMEMBERED_MAX - 1);
        self.gone.push_front(session_id);
        Some(News::Gone(session_id))
    }

    /// Reads the next events of a log up to one of them.
    async fn read_on(&mut self, session_id: Uuid, until: i64) -> sqlx::Result<()> {
        let place = self.places.entry(session_id).or_insert(until - 1);
        let mut tx = self.app.tenant_tx(&self.acting).await?;
        let events = store::after(&mut tx, session_id, *place, EVENTS_PER_READ).await?;
        let Some(last) = events.last().map(|event| event.seq) else {
            // It is gone, or they are not kept any more.
            *place = until;
            return Ok(());
        };
        *place = last;
        self.ready.extend(events.into_iter().map(|event| News::Event(Arc::new(event))));
        self.behind = (last < until).then_some((session_id, until));
        Ok(())
    }

    /// Now and then: whether this is still allowed.
    async fn look_around(&self) -> News {
        match live_now(&self.app, &self.acting).await {
            Ok(Live::Ended | Live::Suspended) => News::End(End::Revoked),
            // It may be back before the next one.
            Ok(_) | Err(_) => News::Heartbeat,
        }
    }
}
