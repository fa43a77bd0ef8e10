//! How often: a bucket for each credential, for each app, for each address that fails to sign
//! in, for each address that registers, tries a person's password or asks for a code by mail (rows M050, M070, M071,
//! M234), for each app that invites, for each plugin that asks for secrets, and for each session that is prompted.
//!
//! Buckets live in this process. A limit protects this host; an app's budget is
//! the ledger's affair.

use crate::{
    error::ApiError,
    limits::{
        APP_RATE_FACTOR, AUTH_FAILURES_PER_MINUTE, DEVICE_REQUESTS_PER_MINUTE,
        INVITATION_LETTERS_PER_MAILBOX_PER_HOUR, INVITATIONS_PER_APP_PER_HOUR, LOGINS_PER_ADDRESS_PER_MINUTE,
        LOGINS_PER_MINUTE, MAIL_CODES_PER_ADDRESS_PER_HOUR, MAIL_CODES_PER_MAILBOX_PER_HOUR,
        PROMPTS_PER_MINUTE, REGISTRATIONS_PER_HOUR, SECRET_QUESTIONS_PER_MINUTE, SHARED_READS_PER_MINUTE,
    },
    registry::PluginName,
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::{hash::Hash, net::IpAddr, num::NonZeroU32, time::Duration};
use uuid::Uuid;

/// All buckets of this process.
pub struct RateLimits {
    credentials: DefaultKeyedRateLimiter<Option<Uuid>>,
    anonymous: DefaultKeyedRateLimiter<Option<IpAddr>>,
    apps: DefaultKeyedRateLimiter<Uuid>,
    auth_failures: DefaultKeyedRateLimiter<Option<IpAddr>>,
    registrations: DefaultKeyedRateLimiter<Option<IpAddr>>,
    logins: DefaultKeyedRateLimiter<(Option<IpAddr>, [u8; 32])>,
    login_addresses: DefaultKeyedRateLimiter<Option<IpAddr>>,
    mail_codes: DefaultKeyedRateLimiter<[u8; 32]>,
    mail_code_addresses: DefaultKeyedRateLimiter<Option<IpAddr>>,
    device_requests: DefaultKeyedRateLimiter<Option<IpAddr>>,
    invitations: DefaultKeyedRateLimiter<Uuid>,
    invitation_letters: DefaultKeyedRateLimiter<[u8; 32]>,
    secret_questions: DefaultKeyedRateLimiter<(Uuid, PluginName)>,
    shared_reads: DefaultKeyedRateLimiter<Option<IpAddr>>,
    prompts: DefaultKeyedRateLimiter<Uuid>,
    per_minute: u32,
}

impl RateLimits {
    /// Buckets for this many requests per minute and credential.
    pub fn new(per_minute: u32) -> RateLimits {
        RateLimits {
            credentials: RateLimiter::keyed(Quota::per_minute(at_least_one(per_minute))),
            anonymous: RateLimiter::keyed(Quota::per_minute(at_least_one(per_minute))),
            apps: RateLimiter::keyed(Quota::per_minute(at_least_one(app_rate(per_minute)))),
            auth_failures: RateLimiter::keyed(Quota::per_minute(at_least_one(AUTH_FAILURES_PER_MINUTE))),
            registrations: RateLimiter::keyed(Quota::per_hour(at_least_one(REGISTRATIONS_PER_HOUR))),
            login_addresses: RateLimiter::keyed(Quota::per_minute(at_least_one(
                LOGINS_PER_ADDRESS_PER_MINUTE,
            ))),
            mail_codes: RateLimiter::keyed(Quota::per_hour(at_least_one(MAIL_CODES_PER_MAILBOX_PER_HOUR))),
            mail_code_addresses: RateLimiter::keyed(Quota::per_hour(at_least_one(
                MAIL_CODES_PER_ADDRESS_PER_HOUR,
            ))),
            device_requests: RateLimiter::keyed(Quota::per_minute(at_least_one(DEVICE_REQUESTS_PER_MINUTE))),
            invitations: RateLimiter::keyed(Quota::per_hour(at_least_one(INVITATIONS_PER_APP_PER_HOUR))),
            invitation_letters: RateLimiter::keyed(Quota::per_hour(at_least_one(
                INVITATION_LETTERS_PER_MAILBOX_PER_HOUR,
            ))),
            logins: RateLimiter::keyed(Quota::per_minute(at_least_one(LOGINS_PER_MINUTE))),
            secret_questions: RateLimiter::keyed(Quota::per_minute(at_least_one(
                SECRET_QUESTIONS_PER_MINUTE,
            ))),
            shared_reads: RateLimiter::keyed(Quota::per_minute(at_least_one(SHARED_READS_PER_MINUTE))),
            prompts: RateLimiter::keyed(Quota::per_minute(at_least_one(PROMPTS_PER_MINUTE))),
            per_minute,
        }
    }

    /// Takes one reading of a shared conversation from an address's bucket.
    ///
    /// # Errors
    /// 429 with when to come back.
    pub fn shared_read(&self, ip: Option<IpAddr>) -> Result<(), ApiError> {
        take(&self.shared_reads, &ip).map_err(|wait| {
            let text = "too many conversations were read from this address; wait";
            ApiError::rate_limited("too_many_shared_reads", text, whole_seconds(wait))
        })
    }

    /// Takes one question for a secret from a plugin's bucket; how long to wait where it is empty.
    ///
    /// # Errors
    /// How long to wait.
    pub fn secret_question(&self, app_id: Uuid, plugin: &PluginName) -> Result<(), Duration> {
        take(&self.secret_questions, &(app_id, plugin.clone()))
    }

    /// Takes one prompt from a session's bucket; how long to wait where it is empty.
    ///
    /// # Errors
    /// How long to wait.
    pub fn prompt(&self, session_id: Uuid) -> Result<(), Duration> {
        take(&self.prompts, &session_id)
    }

    /// Takes one request from a credential's bucket, and from that of the app it belongs to.
    ///
    /// # Errors
    /// 429 with when to come back.
    pub fn request(&self, credential: Option<Uuid>, app_id: Option<Uuid>) -> Result<(), ApiError> {
        take(&self.credentials, &credential)
            .map_err(|wait| exceeded(self.per_minute, "with this credential", wait))?;
        let Some(app_id) = app_id else { return Ok(()) };
        take(&self.apps, &app_id)
            .map_err(|wait| exceeded(app_rate(self.per_minute), "with all credentials of this app", wait))
    }

    /// Takes one request without a credential from an address's bucket.
    ///
    /// # Errors
    /// 429 with when to come back.
    pub fn anonymous(&self, ip: Option<IpAddr>) -> Result<(), ApiError> {
        take(&self.anonymous, &ip).map_err(|wait| {
            let text = "too many requests without a credential from this address; wait";
            ApiError::rate_limited("rate_limited", text, whole_seconds(wait))
        })
    }

    /// Counts a failed credential from this address; an error once there were too many.
    ///
    /// # Errors
    /// 429 with when to come back.
    pub fn auth_failure(&self, ip: Option<IpAddr>) -> Result<(), ApiError> {
        take(&self.auth_failures, &ip).map_err(|wait| {
            ApiError::rate_limited(
                "too_many_failures",
                "too many failed credentials from this address; wait",
                whole_seconds(wait),
            )
        })
    }

    /// Takes one registration from an address's bucket.
    ///
    /// # Errors
    /// 429 with when to come back.
    pub fn registration(&self, ip: Option<IpAddr>) -> Result<(), ApiError> {
        take(&self.registrations, &ip).map_err(|wait| {
            ApiError::rate_limited(
                "too_many_registrations",
                "too many registrations from this address; wait",
                whole_seconds(wait),
            )
        })
    }

    /// Takes one attempt to sign in from an address's bucket, and from that of the address and whose account it is,
    /// which stands there as a hash. Before a password is hashed: that is what costs.
    ///
    /// # Errors
    /// 429 with when to come back.
    pub fn login(&self, ip: Option<IpAddr>, whose: [u8; 32]) -> Result<(), ApiError> {
        take(&self.login_addresses, &ip)
            .and_then(|()| take(&self.logins, &(ip, whose)))
            .map_err(too_many_logins)
    }

    /// Takes one sign-in at another provider from an address's bucket: who it will be, nobody knows yet.
    ///
    /// # Errors
    /// 429 with when to come back.
    pub fn login_elsewhere(&self, ip: Option<IpAddr>) -> Result<(), ApiError> {
        take(&self.login_addresses, &ip).map_err(too_many_logins)
    }

    /// Takes one attempt at the password of somebody who is signed in, who stands there as a hash.
    ///
    /// # Errors
    /// 429 with when to come back.
    pub fn password(&self, whose: [u8; 32]) -> Result<(), ApiError> {
        take(&self.logins, &(None, whose)).map_err(too_many_logins)
    }

    /// Takes one code by mail from an address's bucket, and from that of whoever it is for, who stands there as a hash.
    ///
    /// # Errors
    /// 429 with when to come back.
    pub fn mail_code(&self, ip: Option<IpAddr>, whose: [u8; 32]) -> Result<(), ApiError> {
        let taken = take(&self.mail_code_addresses, &ip).and_then(|()| take(&self.mail_codes, &whose));
        taken.map_err(|wait| {
            let text = "too many codes were asked for; use the last one, or wait";
            ApiError::rate_limited("too_many_codes", text, whole_seconds(wait))
        })
    }

    /// Takes one invitation from an app's bucket.
    ///
    /// # Errors
    /// 429 with when to come back.
    pub fn invitation(&self, app_id: Uuid) -> Result<(), ApiError> {
        take(&self.invitations, &app_id).map_err(|wait| {
            let text = "this app invited too many lately; wait";
            ApiError::rate_limited("too_many_invitations", text, whole_seconds(wait))
        })
    }

    /// Takes one letter with an invitation from the bucket of whoever it is for, who stands there as a hash; false where
    /// that is empty. Whoever invites is not told: that others invite the same mailbox is not their affair.
    pub fn invitation_letter(&self, whose: [u8; 32]) -> bool {
        take(&self.invitation_letters, &whose).is_ok()
    }

    /// Takes one request of a command line to be let in from an address's bucket.
    ///
    /// # Errors
    /// 429 with when to come back.
    pub fn device_request(&self, ip: Option<IpAddr>) -> Result<(), ApiError> {
        take(&self.device_requests, &ip).map_err(|wait| {
            let text = "too many requests to be let in from this address; wait";
            ApiError::rate_limited("too_many_device_requests", text, whole_seconds(wait))
        })
    }

    /// Forgets buckets that are full again.
    pub fn forget_idle(&self) {
        self.credentials.retain_recent();
        self.anonymous.retain_recent();
        self.apps.retain_recent();
        self.auth_failures.retain_recent();
        self.registrations.retain_recent();
        self.logins.retain_recent();
        self.login_addresses.retain_recent();
        self.mail_codes.retain_recent();
        self.mail_code_addresses.retain_recent();
        self.device_requests.retain_recent();
        self.invitations.retain_recent();
        self.invitation_letters.retain_recent();
        self.secret_questions.retain_recent();
        self.shared_reads.retain_recent();
        self.prompts.retain_recent();
    }

    /// Writes the limit into an answer's headers.
    pub fn describe(&self, headers: &mut HeaderMap) {
        if let Ok(policy) = HeaderValue::from_str(&format!("{};w=60", self.per_minute)) {
            headers.insert(HeaderName::from_static("ratelimit-policy"), policy);
        }
    }
}

/// 429 for a session that is prompted too often, with when to come back.
pub(crate) fn too_many_prompts(text: String, wait: Duration) -> ApiError {
    let seconds = whole_seconds(wait);
    let mut error = ApiError::rate_limited("too_many_prompts", text, seconds);
    error.headers.extend(headers(PROMPTS_PER_MINUTE, seconds));
    error
}

fn too_many_logins(wait: Duration) -> ApiError {
    let text = "too many attempts to sign in; wait";
    ApiError::rate_limited("too_many_logins", text, whole_seconds(wait))
}

fn app_rate(per_minute: u32) -> u32 {
    per_minute.saturating_mul(APP_RATE_FACTOR)
}

fn exceeded(limit: u32, whose: &str, wait: Duration) -> ApiError {
    let text = format!("more than {limit} requests a minute {whose}; wait and try again");
    let seconds = whole_seconds(wait);
    let mut error = ApiError::rate_limited("rate_limited", text, seconds);
    error.headers.extend(headers(limit, seconds));
    error
}

fn headers(limit: u32, reset_s: u64) -> [(HeaderName, HeaderValue); 3] {
    [
        (HeaderName::from_static("ratelimit-limit"), HeaderValue::from(limit)),
        (HeaderName::from_static("ratelimit-remaining"), HeaderValue::from(0_u32)),
        (HeaderName::from_static("ratelimit-reset"), HeaderValue::from(reset_s)),
    ]
}

fn take<K: Hash + Eq + Clone>(limiter: &DefaultKeyedRateLimiter<K>, key: &K) -> Result<(), Duration> {
    limiter.check_key(key).map_err(|not_until| not_until.wait_time_from(limiter.clock().now()))
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

fn at_least_one(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}
