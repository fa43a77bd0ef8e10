//! Where a request goes: whose key it is made with, and which places are asked in turn.
//!
//! Who has a key of their own is asked with that and no other: first the user's, then the app's, then the platform's
//! sources of the model, where the app may use it (row M018). A model of one's own provider that fails does not fall
//! back to somebody else's bill, so only the platform's models are asked in several places (row M183): the next
//! one where one limits us, failed or is not there, and nothing of an answer was handed on; never after.

use super::{
    Kind, Provider, Upstream, UpstreamError, UpstreamErrorKind,
    demo::{self, Demo},
    gateway::GatewayError,
    mock::{self, Mock},
    providers,
    speech::InTokens,
    upstream::HEAD_TIMEOUT_MS,
};
use crate::{
    app::App,
    egress::EgressError,
    grants::InApp,
    sources::{
        self,
        circuit::Turn,
        limits::Limits,
        turns::{self, Planned},
    },
    tenants::{
        self,
        providers::{OpenError, OpenProvider},
    },
    traces::TraceContext,
};
use secrecy::SecretString;
use std::{
    time::{Duration, Instant},
    vec,
};
use uuid::Uuid;

/// Places asked for one request at the most: the second mends nearly everything, and each costs the client time.
pub const ATTEMPTS_MAX: u16 = 3;
/// How long all of them together may take until one begins to answer: as long as one may by itself.
pub const ATTEMPTS_TIME_MAX: Duration = Duration::from_millis(HEAD_TIMEOUT_MS);

/// Whose key a call is made with, and who is sent the bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaidBy {
    /// One user of the app.
    User,
    /// The app.
    App,
    /// The operator.
    Platform,
}

impl PaidBy {
    /// The name in the ledger.
    pub const fn name(self) -> &'static str {
        match self {
            PaidBy::User => "user",
            PaidBy::App => "app",
            PaidBy::Platform => "platform",
        }
    }
}

/// Where one request goes.
pub(crate) struct Route {
    app: App,
    app_id: Uuid,
    /// None: nobody, the demo models are free.
    pub(crate) paid_by: Option<PaidBy>,
    /// How much may be asked of the model, where it is the platform's.
    pub(crate) limits: Limits,
    hops: vec::IntoIter<Hop>,
    began: Instant,
    /// What whoever is asked is told that it belongs to.
    pub(crate) trace: Option<TraceContext>,
    /// How many places were asked.
    pub(crate) attempts: u16,
    /// Why the last of them did not answer.
    last: Option<UpstreamError>,
    /// When the first source that is left alone is asked again, in seconds.
    rests_s: Option<u64>,
}

enum Hop {
    Ready(Provider),
    Source(Planned),
}

/// One place that is asked. Dropped before it was settled: whoever asked went away.
pub(crate) struct Attempt {
    asked: Option<Asked>,
}

struct Asked {
    app: App,
    source_id: Uuid,
    turn: Turn,
    began: Instant,
    settled: bool,
}

/// The source of an answer that is on its way.
pub(crate) struct AnswerOf {
    app: App,
    source_id: Uuid,
}

/// Finds out where a request for this model goes.
///
/// # Errors
/// [`GatewayError`], where it goes nowhere.
pub(crate) async fn find(
    app: &App,
    proof: &impl InApp,
    provider: &str,
    model: &str,
) -> Result<Route, GatewayError> {
    let app_id = proof.app().app_id;
    if let Some((built_in, models)) = built_in(app, provider) {
        if !models.contains(&model) {
            return Err(GatewayError::UnknownModel(format!("{provider}/{model}")));
        }
        return Ok(Route::of(app, proof, None, vec![Hop::Ready(built_in)]));
    }
    let own = tenants::providers::open_known(app, proof, provider).await;
    if let Some((opened, whose)) = own.map_err(|error| refused(error, provider))? {
        // How a provider reads OpenAI's dialect is known by its id, wherever the app says it is.
        let dialect = providers::well_known(provider).map(|known| known.dialect).unwrap_or_default();
        let upstream = upstream(app, app_id, opened).map_err(no_proxy)?.with_dialect(dialect);
        return Ok(Route::of(app, proof, Some(whose), vec![Hop::Ready(Provider::Upstream(upstream))]));
    }
    let (limits, planned) = turns::of(app, proof, provider, model).await.map_err(failed)?;
    if planned.is_empty() {
        let others = sources::offers_provider(app, app_id, provider).await.map_err(failed)?;
        return Err(match others {
            true => GatewayError::UnknownModel(format!("{provider}/{model}")),
            false => GatewayError::NotConfigured(provider.to_owned()),
        });
    }
    let hops = planned.into_iter().map(Hop::Source).collect();
    Ok(Route { limits, ..Route::of(app, proof, Some(PaidBy::Platform), hops) })
}

/// A provider that needs no key and no network, and its models, where it is offered.
fn built_in(app: &App, provider: &str) -> Option<(Provider, &'static [&'static str])> {
    match provider {
        demo::PROVIDER if app.config.demo_provider => Some((Provider::Demo(Demo::default()), &demo::MODELS)),
        mock::PROVIDER if app.config.mock_provider => Some((Provider::Mock(Mock::default()), &mock::MODELS)),
        _ => None,
    }
}

/// An app's own provider has none.
fn no_proxy(cause: EgressError) -> GatewayError {
    tracing::error!(%cause, "a provider cannot be asked through a proxy");
    UpstreamError::new(UpstreamErrorKind::Unreachable).into()
}

fn refused(error: OpenError, provider: &str) -> GatewayError {
    match error {
        OpenError::Sealed => GatewayError::Sealed,
        OpenError::NoAddress => GatewayError::NotConfigured(provider.to_owned()),
        OpenError::Db(cause) => failed(cause),
    }
}

fn failed(cause: sqlx::Error) -> GatewayError {
    tracing::error!(%cause, "a provider could not be looked up");
    GatewayError::Db(cause.to_string())
}

fn upstream(app: &App, app_id: Uuid, opened: OpenProvider) -> Result<Upstream, EgressError> {
    let key = opened.api_key.clone().unwrap_or_else(|| SecretString::from(String::new()));
    let upstream = match &opened.proxy {
        None => Upstream::new(opened.base_url, key, app.model_egress.client().clone()),
        Some(proxy) => Upstream::new(opened.base_url, key, app.model_egress.through(proxy)?)
            .judged_by(app.model_egress.clone()),
    };
    Ok(upstream.with_kind(opened.kind).with_seals(app.seals.of(app_id)))
}

impl Route {
    fn of(app: &App, proof: &impl InApp, paid_by: Option<PaidBy>, hops: Vec<Hop>) -> Route {
        Route {
            app: app.clone(),
            app_id: proof.app().app_id,
            trace: proof.caller().trace,
            paid_by,
            limits: Limits::default(),
            hops: hops.into_iter(),
            began: Instant::now(),
            attempts: 0,
            last: None,
            rests_s: None,
        }
    }

    /// Whether those that may be asked say what speaking took in tokens.
    pub(crate) fn speaks_in_tokens(&self) -> InTokens {
        let is_google = |hop: &Hop| match hop {
            Hop::Ready(Provider::Upstream(upstream)) => upstream.kind() == Kind::Google,
            Hop::Ready(_) => false,
            Hop::Source(planned) => planned.source.speaks() == Kind::Google,
        };
        match self.hops.as_slice() {
            hops if hops.iter().all(is_google) => InTokens::Always,
            hops if hops.iter().any(is_google) => InTokens::Sometimes,
            _ => InTokens::Never,
        }
    }

    /// The next place to ask.
    ///
    /// # Errors
    /// Where there is none left: why the last one did not answer.
    pub(crate) fn next(&mut self) -> Result<(Provider, Attempt), UpstreamError> {
        let spent = self.began.elapsed();
        while self.attempts < ATTEMPTS_MAX && spent < ATTEMPTS_TIME_MAX {
            let Some(hop) = self.hops.next() else { break };
            let Some((provider, asked)) = self.open(hop) else { continue };
            // What was spent on others is not there for this one.
            let provider = if self.attempts == 0 { provider } else { provider.after(spent) };
            let provider = provider.with_trace(self.trace);
            self.attempts += 1;
            return Ok((provider, Attempt { asked }));
        }
        Err(self.give_up())
    }

    /// Whether another place may be asked after this failure.
    ///
    /// # Errors
    /// The failure, where not.
    pub(crate) fn failed(&mut self, mut attempt: Attempt, error: UpstreamError) -> Result<(), UpstreamError> {
        let managed = attempt.asked.is_some();
        if let Some(asked) = &mut attempt.asked {
            asked.settled = true;
            let (app, took) = (&asked.app, asked.took_ms());
            app.circuits.failed(asked.source_id, asked.turn, app.now(), took, &error);
            tracing::info!(source = %asked.source_id, code = error.code, "a source refused or did not answer");
        }
        let again = is_worth_another(&error);
        let error = if managed { error.of_platform() } else { error };
        if !managed || !again {
            return Err(error);
        }
        self.last = Some(error);
        Ok(())
    }

    /// Why the last place did not answer, where no other may be asked.
    pub(crate) fn give_up(&mut self) -> UpstreamError {
        self.last.take().unwrap_or_else(|| nobody_answers(self.rests_s))
    }

    fn open(&mut self, hop: Hop) -> Option<(Provider, Option<Asked>)> {
        let planned = match hop {
            Hop::Ready(provider) => return Some((provider, None)),
            Hop::Source(planned) => planned,
        };
        let source_id = planned.source.source_id;
        let opened = match turns::open(&self.app, &planned.source) {
            Ok(opened) => opened,
            Err(cause) => {
                tracing::error!(source = %source_id, %cause, "a source cannot be asked");
                return None;
            }
        };
        let now = self.app.now();
        let turn = match self.app.circuits.admit(source_id, now) {
            Ok(turn) => turn,
            Err(until) => {
                let wait = u64::try_from((until - now).num_seconds()).unwrap_or_default().max(1);
                self.rests_s = Some(self.rests_s.map_or(wait, |least| least.min(wait)));
                return None;
            }
        };
        let dialect = providers::dialect_at(&opened.base_url);
        let upstream = match upstream(&self.app, self.app_id, opened) {
            Ok(upstream) => upstream.with_dialect(dialect).with_name_of_model(planned.upstream_model),
            Err(cause) => {
                tracing::error!(source = %source_id, %cause, "a source's proxy cannot be used");
                return None;
            }
        };
        let asked = Asked { app: self.app.clone(), source_id, turn, began: Instant::now(), settled: false };
        Some((Provider::Upstream(upstream), Some(asked)))
    }
}

impl Attempt {
    /// The place began to answer.
    pub(crate) fn answered(mut self) -> Option<AnswerOf> {
        let asked = self.asked.as_mut()?;
        asked.settled = true;
        let (app, source_id) = (asked.app.clone(), asked.source_id);
        app.circuits.answered(source_id, asked.turn, app.now(), asked.took_ms());
        Some(AnswerOf { app, source_id })
    }
}

impl Asked {
    fn took_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.settled {
            self.app.circuits.left(self.source_id, self.turn, self.app.now());
        }
    }
}

impl AnswerOf {
    /// The answer broke off.
    pub(crate) fn broke_off(&self, error: &UpstreamError) {
        self.app.circuits.failed(self.source_id, Turn::Usual, self.app.now(), 0, error);
    }
}

/// What the request itself has wrong is wrong everywhere, and an answer that made no sense was paid for.
fn is_worth_another(error: &UpstreamError) -> bool {
    !matches!(error.kind, UpstreamErrorKind::Rejected | UpstreamErrorKind::BadReply)
}

fn nobody_answers(rests_s: Option<u64>) -> UpstreamError {
    UpstreamError {
        status: 503,
        code: "provider_unavailable".to_owned(),
        message: "No source of this model answers at the moment. Retry later.".to_owned(),
        retry_after: rests_s,
        ..UpstreamError::new(UpstreamErrorKind::Unreachable)
    }
}
