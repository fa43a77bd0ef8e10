//! One model call on behalf of an app: which provider, with which key, metered.
//!
//! Every call goes through here, a person's and a guest's alike, so none goes
//! unmetered: the use is written when the reply ends, when it fails, and when
//! it is broken off. The key is opened here, in memory, and goes nowhere else.

use super::{
    ChatRequest, Event, EventStream, ModelId, Once, PaidBy, Price, Provider, Spent, Unit, UpstreamError,
    Usage,
    route::{self, AnswerOf, Route},
    span::{self, CallSpan},
    speech::{SpeechRequest, Spoken},
    tokens::CHARS_PER_TOKEN,
};
use crate::{
    app::App,
    budgets::{self, Bounded, Hold, HoldError, Speech, Spender},
    carried::Carried,
    grants::{Acting, InApp},
    sources::limits::Pass,
    usage::{self, Status, Use, What},
};
use bytes::Bytes;
use futures_util::StreamExt;
use std::time::Instant;
use uuid::Uuid;

/// What a call belongs to.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The plugin that asks, `kind/name`.
    pub plugin: Option<String>,
    /// The session.
    pub session_id: Option<Uuid>,
    /// Whose request it is, where the client says so.
    pub end_user: Option<String>,
}

/// Why a model was not asked, or did not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GatewayError {
    /// The id names no provider, and is not the app's default model.
    #[error("no such model: `{0}`; name it as `provider/model`, as GET /v1/models lists it")]
    UnknownModel(String),
    /// The app has no such provider.
    #[error(
        "the provider `{0}` is not configured for this app; give it a key with PUT /v1/keys/{0} or PUT /v1/tenant"
    )]
    NotConfigured(String),
    /// Its key cannot be opened.
    #[error("the provider's key cannot be opened on this host; store it again with PUT /v1/tenant")]
    Sealed,
    /// The provider.
    #[error("{0}")]
    Upstream(#[from] UpstreamError),
    /// A budget does not allow it.
    #[error("{0}")]
    Budget(#[from] HoldError),
    /// The database.
    #[error("the provider could not be looked up")]
    Db(String),
}

/// A reply on its way, with what will be written down of it.
pub struct Metered {
    stream: EventStream,
    /// Where it comes from, where that is counted.
    source: Option<AnswerOf>,
    record: Record,
    /// How it failed, until that is told.
    failed: Option<UpstreamError>,
}

/// What will be written down of a call, once, however it ends: a record that is
/// dropped before it was settled was broken off, and is charged for what was seen.
struct Record {
    app: App,
    acting: Acting,
    origin: Origin,
    provider: String,
    model: String,
    price: Option<Price>,
    /// Milli-points a dollar of it is, where it costs points.
    points_rate: Option<u64>,
    paid_by: Option<PaidBy>,
    attempts: u16,
    started: Instant,
    usage: Usage,
    /// What places used that were asked before and did not answer.
    lost: Usage,
    /// What it used that is not counted in tokens.
    units: Option<(Unit, u64)>,
    settled: bool,
    /// The writing of it, while it is waited for.
    writing: Option<Carried<()>>,
    /// What a trace says of it; ends with it.
    span: CallSpan,
    /// What is held for it against budgets.
    hold: Option<Hold>,
    /// Its place among what the model has under way, where that is limited.
    pass: Option<Pass>,
}

/// Resolves a model id to a full one: `provider/model` as it is, a bare name
/// where it is the app's default model's.
///
/// # Errors
/// [`GatewayError::UnknownModel`]
pub fn full_id(id: &ModelId, default_model: Option<&str>) -> Result<(String, String), GatewayError> {
    match (&id.provider, default_model.and_then(|full| full.split_once('/'))) {
        (Some(provider), _) => Ok((provider.clone(), id.model.clone())),
        (None, Some((provider, model))) if model == id.model => Ok((provider.to_owned(), model.to_owned())),
        (None, _) => Err(GatewayError::UnknownModel(id.model.clone())),
    }
}

/// Asks a model. Returns once its first event, or its failure, is here.
///
/// # Errors
/// [`GatewayError`]; what a failed call used is written down.
pub async fn ask(
    app: &App,
    proof: &impl InApp,
    (provider, model): (&str, &str),
    request: &ChatRequest,
    origin: Origin,
) -> Result<Metered, GatewayError> {
    let mut route = route::find(app, proof, provider, model).await?;
    let limited = route.limits.of_output((provider, model), request)?;
    let request = &*limited;
    let mut record = Record::start(app, proof, (provider, model), origin, request, &route).await?;
    record.span = span::chat(app, proof, provider, model, request);
    route.trace = record.span.context();
    let asked =
        in_turn(&mut route, &mut record, |provider| async move { provider.stream(model, request).await });
    match asked.await {
        Ok((stream, source)) => Ok(Metered { stream, source, record, failed: None }),
        Err(error) => {
            record.span.failed(&error);
            record.settle(Status::Failed).await;
            Err(error.into())
        }
    }
}

/// Asks what is answered at once: embeddings, pictures and their like.
///
/// # Errors
/// [`GatewayError`]; what a failed call used is written down.
pub(crate) async fn once<R: Once + Bounded>(
    app: &App,
    proof: &impl InApp,
    (provider, model): (&str, &str),
    request: &R,
    origin: Origin,
) -> Result<R::Answer, GatewayError> {
    let mut route = route::find(app, proof, provider, model).await?;
    let mut record = Record::start(app, proof, (provider, model), origin, request, &route).await?;
    record.span = span::call(app, proof, R::OPERATION, provider, model);
    route.trace = record.span.context();
    let asked =
        in_turn(&mut route, &mut record, |provider| async move { request.ask(&provider, model).await });
    match asked.await {
        Ok(((answer, Spent { usage, units }), _source)) => {
            (record.usage, record.units) = (usage, units);
            record.settle(Status::Ok).await;
            Ok(answer)
        }
        Err(error) => {
            record.span.failed(&error);
            record.settle(Status::Failed).await;
            Err(error.into())
        }
    }
}

/// Asks for a text to be spoken. Returns once the sound begins; from then on all of the text is charged for, as
/// providers do.
///
/// # Errors
/// [`GatewayError`]; what a failed call used is written down.
pub async fn speak(
    app: &App,
    proof: &impl InApp,
    (provider, model): (&str, &str),
    request: &SpeechRequest,
    origin: Origin,
) -> Result<Sound, GatewayError> {
    let mut route = route::find(app, proof, provider, model).await?;
    let speech = Speech { request, in_tokens: route.speaks_in_tokens() };
    let mut record = Record::start(app, proof, (provider, model), origin, &speech, &route).await?;
    record.span = span::call(app, proof, "generate_content", provider, model);
    route.trace = record.span.context();
    let asked =
        in_turn(&mut route, &mut record, |provider| async move { provider.speak(model, request).await });
    match asked.await {
        Ok((spoken, source)) => {
            record.usage = spoken.usage;
            record.units = Some((Unit::Characters, request.characters()));
            Ok(Sound { spoken, source, record })
        }
        Err(error) => {
            record.span.failed(&error);
            record.settle(Status::Failed).await;
            Err(error.into())
        }
    }
}

/// How many tokens a model would read; None where nobody counts for us. Costs nothing, and is not written down.
///
/// # Errors
/// [`GatewayError`]
pub async fn count(
    app: &App,
    proof: &impl InApp,
    (provider, model): (&str, &str),
    request: &ChatRequest,
) -> Result<Option<u64>, GatewayError> {
    let mut route = route::find(app, proof, provider, model).await?;
    loop {
        let (provider, attempt) = route.next()?;
        match provider.count(model, request).await {
            // Who does not count for us was not asked.
            Ok(None) => return Ok(None),
            Ok(Some(count)) => {
                attempt.answered();
                return Ok(Some(count));
            }
            Err(error) => route.failed(attempt, error)?,
        }
    }
}

/// Asks each place of a route in turn, until one begins to answer.
async fn in_turn<T, Asking>(
    route: &mut Route,
    record: &mut Record,
    ask: impl Fn(Provider) -> Asking,
) -> Result<(T, Option<AnswerOf>), UpstreamError>
where
    Asking: Future<Output = Result<T, UpstreamError>>,
{
    loop {
        let next = route.next();
        record.attempts = route.attempts;
        let (provider, attempt) = next?;
        match ask(provider).await {
            Ok(answer) => return Ok((answer, attempt.answered())),
            Err(error) => {
                let used = error.used.as_deref().copied().unwrap_or_default();
                record.lost = record.lost.and(&used);
                route.failed(attempt, error)?;
                // What is held is enough for one; what this one used has to be held besides.
                if !record.hold_more(&used).await {
                    return Err(route.give_up());
                }
            }
        }
    }
}

impl Metered {
    /// What it used so far, as far as the provider said or we counted.
    pub fn usage(&self) -> Usage {
        self.record.usage
    }

    /// The next event; none after the last, when the use is written down. Whoever stops waiting may ask again:
    /// nothing is lost by it.
    pub async fn next(&mut self) -> Option<Result<Event, UpstreamError>> {
        if self.failed.is_none() {
            let next = self.stream.next().await;
            self.record.usage = match &next {
                Some(Ok(Event::Usage(usage))) => *usage,
                _ => self.stream.usage_so_far(),
            };
            match next {
                Some(Ok(event)) => {
                    if let Event::Finish(reason) = event {
                        self.record.span.answered(reason, self.stream.answered_by());
                    }
                    return Some(Ok(event));
                }
                Some(Err(error)) => {
                    if let Some(source) = &self.source {
                        source.broke_off(&error);
                    }
                    self.record.span.failed(&error);
                    self.failed = Some(error);
                }
                None => {
                    self.record.settle(Status::Ok).await;
                    return None;
                }
            }
        }
        self.record.settle(Status::Failed).await;
        self.failed.take().map(Err)
    }
}

/// A sound on its way, with what will be written down of it.
pub struct Sound {
    spoken: Spoken,
    /// Where it comes from, where that is counted.
    source: Option<AnswerOf>,
    record: Record,
}

impl Sound {
    /// What it is called in an answer.
    pub fn media_type(&self) -> &'static str {
        self.spoken.media_type
    }

    /// The next piece; none after the last, when the use is written down.
    pub async fn next(&mut self) -> Option<Result<Bytes, UpstreamError>> {
        let next = self.spoken.bytes.next().await;
        match &next {
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                if let Some(source) = &self.source {
                    source.broke_off(error);
                }
                self.record.settle(Status::Failed).await;
            }
            None => self.record.settle(Status::Ok).await,
        }
        next
    }
}

impl Record {
    /// Sees whether the model has room for the call, looks up what it may cost and holds that against the app's budgets.
    async fn start(
        app: &App,
        proof: &impl InApp,
        (provider, model): (&str, &str),
        origin: Origin,
        request: &(impl Bounded + Sync),
        route: &Route,
    ) -> Result<Record, GatewayError> {
        let paid_by = route.paid_by;
        // A token is about four of the bytes that bound it.
        let reads = || request.usage_at_most(None).prompt_tokens / CHARS_PER_TOKEN;
        let pass = route.limits.admit(app, (provider, model), reads)?;
        let terms = budgets::terms(app, proof, provider, model).await?;
        let spender = Spender::of(proof, origin.end_user.as_deref());
        let hold = budgets::hold(app, proof, &terms, (&spender, paid_by), (provider, model), request).await?;
        Ok(Record {
            app: app.clone(),
            acting: Acting::of(proof),
            origin,
            provider: provider.to_owned(),
            model: model.to_owned(),
            price: terms.priced.as_ref().map(|priced| priced.price),
            points_rate: terms.points_rate(paid_by),
            paid_by,
            attempts: 0,
            started: Instant::now(),
            usage: Usage::default(),
            lost: Usage::default(),
            units: None,
            settled: false,
            writing: None,
            span: CallSpan::none(),
            hold,
            pass,
        })
    }

    /// Holds what was used in vain, on top of what is held for the next attempt; whether there was room for it.
    async fn hold_more(&mut self, used: &Usage) -> bool {
        let cost = self.price.map_or(0, |price| price.cost_micro_usd(used));
        let Some(hold) = self.hold.take_if(|_| cost > 0) else { return true };
        let (hold, taken) = hold.more(cost).await;
        self.hold = Some(hold);
        taken.inspect_err(|cause| tracing::info!(%cause, "no other source is asked")).is_ok()
    }

    /// Writes the use down and waits for it. Once begun it is carried through,
    /// also where whoever waits is gone; whoever asks again waits for the same.
    async fn settle(&mut self, status: Status) {
        self.begin(status);
        if let Some(writing) = &mut self.writing {
            writing.await;
            self.writing = None;
        }
    }

    fn begin(&mut self, status: Status) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        if status == Status::Canceled {
            self.span.canceled();
        }
        self.span.spent(&Spent { usage: self.usage.and(&self.lost), units: self.units });
        self.span = CallSpan::none();
        let what = Use {
            what: What::Tokens {
                provider: self.provider.clone(),
                model: self.model.clone(),
                usage: self.usage.and(&self.lost),
                units: self.units,
                price: self.price,
                points_rate: self.points_rate,
                attempts: self.attempts,
                paid_by: self.paid_by,
            },
            plugin: self.origin.plugin.clone(),
            session_id: self.origin.session_id,
            end_user: self.origin.end_user.clone(),
            took: self.started.elapsed(),
            status,
        };
        // Who found no source that could be asked took nothing of the model's.
        if let Some(pass) = self.pass.take_if(|_| self.attempts > 0) {
            pass.used(&self.usage.and(&self.lost));
        }
        self.pass = None;
        let (app, acting, hold) = (self.app.clone(), self.acting.clone(), self.hold.take());
        self.writing = Some(self.app.carry(async move { usage::record(&app, &acting, &what, hold).await }));
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.begin(Status::Canceled);
    }
}
