//! Reading a log: from a cursor to its end, and on as it grows.

use super::{Event, Place, hub::Signal, store};
use crate::{
    app::App,
    grants::{Acting, InApp, Live},
    guests::standing::live_now,
    limits::EVENTS_PER_READ,
    sessions::SessionError,
};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use uuid::Uuid;

/// How often a reader asks whether it still may, and says that it is still there.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

/// A reader of one log. It takes no connection while it waits.
pub struct Reader {
    app: App,
    acting: Acting,
    session_id: Uuid,
    /// The last event it handed out.
    cursor: i64,
    /// Events of the log that were read ahead.
    ready: VecDeque<Arc<Event>>,
    /// How far the log goes, as far as known.
    known_seq: i64,
    signals: Receiver<Signal>,
    /// When to ask next whether this is still allowed, whatever happens meanwhile.
    look_at: Instant,
    over: bool,
    /// Its place among the readers, where it is somebody's outside.
    _place: Option<Place>,
}

/// What comes next.
#[derive(Clone, Debug)]
pub enum Item {
    /// This happened.
    Event(Arc<Event>),
    /// The reader is still there, and still may.
    Heartbeat,
    /// What lies between the cursor and this number is not kept any more: read the messages anew and go on from here.
    Reset(i64),
    /// The last item: why there are no more.
    End(End),
}

/// Why a reader ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It did not keep up; it may come back with its cursor.
    TooSlow,
    /// The session was deleted, or its time is over.
    Gone,
    /// The credential may not read it any more.
    Revoked,
    /// The host stops; another, or this one soon, goes on.
    Stopping,
    /// The database did not answer.
    Unavailable,
}

impl End {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            End::TooSlow => "too_slow",
            End::Gone => "gone",
            End::Revoked => "revoked",
            End::Stopping => "stopping",
            End::Unavailable => "unavailable",
        }
    }
}

impl Reader {
    /// Reads from after `cursor`; from now on, unless given.
    ///
    /// # Errors
    /// [`SessionError`], where there is no such session or its time is over.
    pub async fn open(
        app: &App,
        proof: &impl InApp,
        session_id: Uuid,
        cursor: Option<i64>,
    ) -> Result<Reader, SessionError> {
        // Before the log is looked at: nothing can happen in between unseen.
        let signals = app.session_hub.subscribe(session_id);
        let mut tx = app.tenant_tx(proof).await?;
        let (_, last_seq) = store::bounds(&mut tx, session_id).await?.ok_or(SessionError::NotFound)?;
        Ok(Reader {
            app: app.clone(),
            acting: Acting::of(proof),
            session_id,
            // Of another database, or made up: what is there is told from its end.
            cursor: cursor.unwrap_or(last_seq).clamp(0, last_seq),
            ready: VecDeque::new(),
            known_seq: last_seq,
            signals,
            look_at: Instant::now() + HEARTBEAT_EVERY,
            over: false,
            _place: None,
        })
    }

    /// The same, which has this place as long as it is there.
    #[must_use]
    pub fn in_place(self, place: Place) -> Reader {
        Reader { _place: Some(place), ..self }
    }

    /// The last event that was handed out.
    pub fn cursor(&self) -> i64 {
        self.cursor
    }

    /// The next item; none after the end.
    pub async fn next(&mut self) -> Option<Item> {
        if self.over {
            return None;
        }
        let item = self.find().await;
        match &item {
            Item::Event(event) => self.cursor = event.seq,
            Item::Reset(seq) => self.cursor = *seq,
            Item::End(_) => self.over = true,
            Item::Heartbeat => {}
        }
        Some(item)
    }

    async fn find(&mut self) -> Item {
        loop {
            if Instant::now() >= self.look_at {
                let seen = self.look_around().await;
                self.look_at = Instant::now() + HEARTBEAT_EVERY;
                return seen;
            }
            if let Some(event) = self.ready.pop_front() {
                if event.seq <= self.cursor {
                    continue;
                }
                if event.seq == self.cursor + 1 {
                    return Item::Event(event);
                }
                // Something between is missing here: the log has it.
                self.known_seq = self.known_seq.max(event.seq);
                self.ready.clear();
            }
            if self.known_seq > self.cursor {
                match self.read_on().await {
                    Ok(None) => continue,
                    Ok(Some(item)) => return item,
                    Err(cause) => {
                        tracing::warn!(%cause, session_id = %self.session_id, "a session's log could not be read");
                        return Item::End(End::Unavailable);
                    }
                }
            }
            if let Some(item) = self.wait().await {
                return item;
            }
        }
    }

    /// Reads the next events of the log; an item where it is not simply that.
    async fn read_on(&mut self) -> sqlx::Result<Option<Item>> {
        let mut tx = self.app.tenant_tx(&self.acting).await?;
        let Some((first_seq, last_seq)) = store::bounds(&mut tx, self.session_id).await? else {
            return Ok(Some(Item::End(End::Gone)));
        };
        self.known_seq = last_seq;
        if self.cursor + 1 < first_seq {
            return Ok(Some(Item::Reset(first_seq - 1)));
        }
        let events = store::after(&mut tx, self.session_id, self.cursor, EVENTS_PER_READ).await?;
        if events.is_empty() && last_seq > self.cursor {
            // There is no such log; rather than look for it for ever.
            return Ok(Some(Item::Reset(last_seq)));
        }
        self.ready = events.into_iter().map(Arc::new).collect();
        Ok(None)
    }

    /// Waits for a signal; an item where there is something to say besides.
    async fn wait(&mut self) -> Option<Item> {
        let stopping = self.app.stopping.clone();
        tokio::select! {
            signal = self.signals.recv() => match signal {
                Ok(Signal::Event(event)) => {
                    self.ready.push_back(event);
                    None
                }
                Ok(Signal::News(seq)) => {
                    self.known_seq = self.known_seq.max(seq);
                    None
                }
                Ok(Signal::Gone) | Err(RecvError::Closed) => Some(Item::End(End::Gone)),
                Err(RecvError::Lagged(_)) => Some(Item::End(End::TooSlow)),
            },
            () = stopping.cancelled() => Some(Item::End(End::Stopping)),
            () = tokio::time::sleep_until(self.look_at.into()) => None,
        }
    }

    /// Now and then: whether this is still allowed, and whether something was missed.
    async fn look_around(&mut self) -> Item {
        let seen = async {
            let live = live_now(&self.app, &self.acting).await?;
            let mut tx = self.app.tenant_tx(&self.acting).await?;
            Ok::<_, sqlx::Error>((live, store::bounds(&mut tx, self.session_id).await?))
        };
        match seen.await {
            Ok((Live::Ended | Live::Suspended, _)) => Item::End(End::Revoked),
            Ok((_, None)) => Item::End(End::Gone),
            Ok((_, Some((_, last_seq)))) => {
                self.known_seq = last_seq;
                Item::Heartbeat
            }
            // It may be back before the next one.
            Err(_) => Item::Heartbeat,
        }
    }
}
