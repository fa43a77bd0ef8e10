//! What was read of an app a moment ago, and holds as long as nothing of the app was changed.
//!
//! **One rule.** What was read counts for requests that come with the same [`Version`], and for no others. The version
//! is read with each request's credential, in the same statement; triggers change it in the transaction that changes
//! anything of what is remembered here (`migrations/20261130000140_versions.sql`). So a change counts from its commit
//! on, on every host and whoever made it, and no host has to be told.
//!
//! Whoever remembers something new adds its tables to those triggers. Keys stay sealed here, as in their rows.
//!
//! Deliberately absent: credentials, members, and whether an app is suspended, which are asked for each time; what
//! changes with every call, such as counters of budgets; and work that outlives its request, which has no version and
//! reads anew ([`crate::grants::Acting`]).

use crate::grants::InApp;
use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use uuid::Uuid;

/// How long anything is believed, whatever the version says: a second wall, which costs one reading a minute.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(60);
/// All that is remembered, in bytes, as far as it is counted: the tools of hundreds of apps.
pub const REMEMBERED_BYTES_MAX: usize = 64 << 20;
/// Apps that something is remembered of. Where there are more, all is forgotten and begun anew.
pub const APPS_REMEMBERED_MAX: usize = 1_000;
/// What is remembered of one app: its tools, its agents, and a few rows for each model it uses.
pub const REMEMBERED_PER_APP_MAX: usize = 200;
/// The longest name of what is remembered, in bytes. Clients name models, and could name them at any length.
const NAME_BYTES_MAX: usize = 256;

/// As of which changes a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Version {
    /// Of the app.
    pub app_version: i64,
    /// Of what the operator keeps for all apps.
    pub platform_version: i64,
}

/// What may be remembered.
pub(crate) trait Remember: Any + Send + Sync {
    /// About how many bytes it takes.
    fn bytes(&self) -> usize;
}

/// What one process remembers.
#[derive(Default)]
pub struct Remembered(Mutex<All>);

#[derive(Default)]
struct All {
    apps: HashMap<Uuid, OfApp>,
    bytes: usize,
}

struct OfApp {
    version: Version,
    values: HashMap<Name, Value>,
}

type Name = (TypeId, String);

struct Value {
    value: Arc<dyn Any + Send + Sync>,
    bytes: usize,
    read_at: Instant,
}

impl Remembered {
    /// What `read` gives for the app of `proof`: from memory where nothing changed since it was read. `name` tells
    /// values of one type apart.
    ///
    /// # Errors
    /// What `read` fails with, which is not remembered.
    pub(crate) async fn get<T: Remember, E>(
        &self,
        proof: &impl InApp,
        name: &str,
        read: impl Future<Output = Result<T, E>>,
    ) -> Result<Arc<T>, E> {
        self.get_as_of((proof.app().app_id, proof.caller().version), name, read).await
    }

    /// The same for an app that a credential was found to act in, before the gate was asked: for what is no secret of
    /// the app's.
    ///
    /// # Errors
    /// As [`Remembered::get`].
    pub(crate) async fn get_as_of<T: Remember, E>(
        &self,
        (app_id, version): (Uuid, Option<Version>),
        name: &str,
        read: impl Future<Output = Result<T, E>>,
    ) -> Result<Arc<T>, E> {
        let Some(version) = version else { return read.await.map(Arc::new) };
        let name = (TypeId::of::<T>(), name.to_owned());
        let now = Instant::now();
        if let Some(found) = self.find(app_id, version, &name, now) {
            return Ok(found);
        }
        let value = Arc::new(read.await?);
        if name.1.len() <= NAME_BYTES_MAX {
            let bytes = value.bytes() + name.1.len() + size_of::<Value>();
            self.keep(app_id, version, name, Value { value: value.clone(), bytes, read_at: now });
        }
        Ok(value)
    }

    fn find<T: Remember>(&self, app_id: Uuid, version: Version, name: &Name, now: Instant) -> Option<Arc<T>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_app = all.apps.get(&app_id).filter(|of_app| of_app.version == version)?;
        let known = of_app.values.get(name).filter(|value| now - value.read_at < REMEMBERED_FOR)?;
        known.value.clone().downcast().ok()
    }

    /// What is newer than `version` was read just now, and so is whatever is remembered under another one.
    fn keep(&self, app_id: Uuid, version: Version, name: Name, value: Value) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !all.apps.contains_key(&app_id);
        if all.bytes + value.bytes > REMEMBERED_BYTES_MAX || is_new && all.apps.len() >= APPS_REMEMBERED_MAX {
            *all = All::default();
        }
        let of_app = all.apps.entry(app_id).or_insert_with(|| OfApp { version, values: HashMap::new() });
        let mut forgotten = 0;
        if of_app.version != version || of_app.values.len() >= REMEMBERED_PER_APP_MAX {
            forgotten += of_app.values.drain().map(|(_, old)| old.bytes).sum::<usize>();
            of_app.version = version;
        }
        let bytes = value.bytes;
        forgotten += of_app.values.insert(name, value).map_or(0, |old| old.bytes);
        all.bytes = all.bytes + bytes - forgotten;
    }
}

impl<T: Remember> Remember for Vec<T> {
    fn bytes(&self) -> usize {
        self.iter().map(Remember::bytes).sum()
    }
}

impl<T: Remember> Remember for Option<T> {
    fn bytes(&self) -> usize {
        self.as_ref().map_or(0, Remember::bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::{
        Acting, Allowed, AppRef, Caller, CredentialKind, Scopes, Standing, Surface, action::may,
    };
    use std::convert::Infallible;

    impl Remember for usize {
        fn bytes(&self) -> usize {
            *self
        }
    }

    fn allowed(app: u128, version: Option<Version>) -> Allowed<may::ChatSend> {
        let app = AppRef { app_id: Uuid::from_u128(app), slug: "acme".into(), suspended: false };
        let caller = Caller {
            kind: CredentialKind::TenantToken,
            credential_id: None,
            user_id: None,
            standing: Standing::App(app),
            scopes: Scopes::all(),
            expires_at: None,
            surface: Surface::Rest,
            ip: None,
            request_id: String::new(),
            version,
            trace: None,
        };
        Allowed::judge(Some(&caller), None).unwrap()
    }

    fn at(app_version: i64) -> Option<Version> {
        Some(Version { app_version, platform_version: 0 })
    }

    async fn get(memory: &Remembered, proof: &impl InApp, name: &str, value: usize) -> usize {
        *memory.get(proof, name, async move { Ok::<_, Infallible>(value) }).await.unwrap()
    }

    #[tokio::test]
    async fn what_was_read_counts_for_its_version_its_app_and_its_name_alone() {
        let memory = Remembered::default();
        assert_eq!(get(&memory, &allowed(1, at(1)), "a", 1).await, 1);
        assert_eq!(get(&memory, &allowed(1, at(1)), "a", 2).await, 1, "remembered");
        assert_eq!(get(&memory, &allowed(1, at(1)), "b", 3).await, 3, "another name");
        assert_eq!(get(&memory, &allowed(2, at(1)), "a", 4).await, 4, "another app");
        assert_eq!(get(&memory, &allowed(1, at(2)), "a", 5).await, 5, "something changed");
        assert_eq!(get(&memory, &allowed(1, at(1)), "a", 6).await, 6, "and what was is gone");
        let platform = Some(Version { app_version: 1, platform_version: 1 });
        assert_eq!(get(&memory, &allowed(1, platform), "a", 7).await, 7, "the operator changed something");
        assert_eq!(get(&memory, &allowed(1, None), "a", 8).await, 8, "who has no version reads anew");
        assert_eq!(
            get(&memory, &Acting::of(&allowed(1, platform)), "a", 9).await,
            9,
            "work that goes on has none"
        );
        assert_eq!(get(&memory, &allowed(1, platform), "a", 10).await, 7);
    }

    #[tokio::test]
    async fn what_fails_and_what_has_too_long_a_name_is_not_remembered() {
        let memory = Remembered::default();
        let proof = allowed(1, at(1));
        let failed = memory.get::<usize, _>(&proof, "a", async { Err("no") }).await;
        assert_eq!(failed, Err("no"));
        assert_eq!(get(&memory, &proof, "a", 2).await, 2);
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        assert_eq!(get(&memory, &proof, &long, 3).await, 3);
        assert_eq!(get(&memory, &proof, &long, 4).await, 4);
    }

    #[tokio::test]
    async fn memory_is_bounded_by_apps_by_values_and_by_bytes() {
        let memory = Remembered::default();
        let held = |memory: &Remembered| {
            let all = memory.0.lock().unwrap();
            let values: Vec<usize> =
                all.apps.values().flat_map(|app| app.values.values().map(|v| v.bytes)).collect();
            assert_eq!(values.iter().sum::<usize>(), all.bytes, "what is counted is what is there");
            (all.apps.len(), values.len())
        };
        for app in 0..APPS_REMEMBERED_MAX as u128 + 1 {
            get(&memory, &allowed(app, at(1)), "a", 1).await;
        }
        assert_eq!(held(&memory), (1, 1));
        for name in 0..=REMEMBERED_PER_APP_MAX {
            get(&memory, &allowed(7, at(1)), &name.to_string(), 1).await;
        }
        assert_eq!(held(&memory), (2, 2));
        get(&memory, &allowed(7, at(2)), "a", REMEMBERED_BYTES_MAX - 4096).await;
        assert_eq!(held(&memory), (2, 2));
        get(&memory, &allowed(8, at(1)), "a", 8192).await;
        assert_eq!(held(&memory), (1, 1));
    }
}
