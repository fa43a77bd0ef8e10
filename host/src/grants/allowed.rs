//! Proofs: a value that can only be had by asking [`decide()`].

use super::{
    AppRef, Caller, Capability, Denied, Principal, Reach, Resource, Standing,
    action::{Action, may},
    decide::{action_of, decide},
};
use crate::{
    guests::standing::Now,
    registry::{PluginName, resolve::Resolved},
    traces::TraceContext,
};
use std::sync::Arc;
use uuid::Uuid;

/// An action as a type. Implemented for each action in [`super::action::may`].
pub trait Permission: Send + Sync + 'static {
    /// The action.
    const ACTION: Action;
    /// What the proof carries: the app, or nothing for the platform.
    type Of: Judged;
}

/// What a proof can be of. Sealed: the kinds of [`super::On`].
pub trait Judged: Sized + Send + Sync {
    /// Asks the gate on behalf of a caller over HTTP.
    #[doc(hidden)]
    fn judge(caller: Option<&Caller>, action: Action, path_app: Option<&str>) -> Result<Self, Denied>;
}

/// A proof about the installation as a whole.
#[derive(Clone, Copy, Debug)]
pub struct ThePlatform(());

/// What no caller over HTTP can have.
#[derive(Clone, Copy, Debug)]
pub struct GuestOnly(());

impl Judged for AppRef {
    fn judge(caller: Option<&Caller>, action: Action, path_app: Option<&str>) -> Result<Self, Denied> {
        decide(principal(caller), action, &Resource::App(path_app))?;
        caller.and_then(Caller::app).cloned().ok_or(Denied::NotSignedIn)
    }
}

/// One app, which its own may manage and an operator as well.
#[derive(Clone, Debug)]
pub struct Managed(
    /// None: an operator's, who belongs to none.
    Option<AppRef>,
);

impl Judged for Managed {
    fn judge(caller: Option<&Caller>, action: Action, path_app: Option<&str>) -> Result<Self, Denied> {
        if caller.is_some_and(|caller| caller.standing == Standing::Operator) {
            return decide(principal(caller), action, &Resource::Platform).map(|()| Managed(None));
        }
        AppRef::judge(caller, action, path_app).map(|app| Managed(Some(app)))
    }
}

/// An action on an app that an operator may as well, and the same action of the app's own.
pub trait Manages: Permission<Of = Managed> {
    /// The app's own.
    type Inside: Permission<Of = AppRef>;
}

impl Manages for may::AdminsRead {
    type Inside = may::MembersRead;
}

impl Manages for may::AdminsWrite {
    type Inside = may::MembersWrite;
}

impl<A: Manages> Allowed<A> {
    /// Whether an operator has it, for whom the app is yet to be found.
    pub(crate) fn is_operators(&self) -> bool {
        self.of.0.is_none()
    }

    /// The proof that one of the app's own would have: for their app, or for an operator's, where that was found.
    pub(crate) fn inside(self, found: Option<AppRef>) -> Option<Allowed<A::Inside>> {
        let of = self.of.0.or(found)?;
        Some(Allowed { caller: self.caller, of })
    }
}

impl Judged for ThePlatform {
    fn judge(caller: Option<&Caller>, action: Action, _path_app: Option<&str>) -> Result<Self, Denied> {
        decide(principal(caller), action, &Resource::Platform).map(|()| ThePlatform(()))
    }
}

impl Judged for GuestOnly {
    fn judge(_caller: Option<&Caller>, action: Action, _path_app: Option<&str>) -> Result<Self, Denied> {
        Err(Denied::WrongKind { action })
    }
}

/// The person who calls.
#[derive(Clone, Copy, Debug)]
pub struct Myself(Uuid);

impl Judged for Myself {
    fn judge(caller: Option<&Caller>, action: Action, _path_app: Option<&str>) -> Result<Self, Denied> {
        decide(principal(caller), action, &Resource::Myself)?;
        caller.and_then(|caller| caller.user_id).map(Myself).ok_or(Denied::NotSignedIn)
    }
}

fn principal(caller: Option<&Caller>) -> Principal<'_> {
    caller.map_or(Principal::Anonymous, Principal::Caller)
}

/// The proof that a caller may do `A`. There is no way to one but [`Allowed::judge`].
pub struct Allowed<A: Permission> {
    caller: Caller,
    of: A::Of,
}

impl<A: Permission> Allowed<A> {
    /// Asks the gate. `path_app` is the slug in the path, where there is one.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(caller: Option<&Caller>, path_app: Option<&str>) -> Result<Allowed<A>, Denied> {
        let of = A::Of::judge(caller, A::ACTION, path_app)?;
        let caller = caller.cloned().ok_or(Denied::NotSignedIn)?;
        Ok(Allowed { caller, of })
    }

    /// Who may.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }
}

impl<A: Permission> Clone for Allowed<A>
where
    A::Of: Clone,
{
    fn clone(&self) -> Self {
        Allowed { caller: self.caller.clone(), of: self.of.clone() }
    }
}

/// Something that was proven to act inside one app. What a tenant's
/// transaction asks for. Sealed: only what came out of the gate is one.
pub trait InApp: sealed::Proven + Send + Sync {
    /// The app.
    fn app(&self) -> &AppRef;
    /// Who acts.
    fn caller(&self) -> &Caller;
    /// The person who acts, where the credential is a person's.
    fn user_id(&self) -> Option<Uuid> {
        self.caller().user_id
    }
}

/// Something that was proven to be done by a person to what is their own. What
/// a person's transaction asks for. Sealed, as [`InApp`] is.
pub trait AsMyself: sealed::Proven + Send + Sync {
    /// The person.
    fn me(&self) -> Uuid;
    /// With which credential.
    fn credential(&self) -> &Caller;
}

impl<A: Permission<Of = Myself>> AsMyself for Allowed<A> {
    fn me(&self) -> Uuid {
        self.of.0
    }
    fn credential(&self) -> &Caller {
        &self.caller
    }
}

impl<A: Permission<Of = AppRef>> InApp for Allowed<A> {
    fn app(&self) -> &AppRef {
        &self.of
    }
    fn caller(&self) -> &Caller {
        &self.caller
    }
}

mod sealed {
    /// Implemented here and nowhere else.
    pub trait Proven {}
}

impl<A: Permission> sealed::Proven for Allowed<A> {}
impl sealed::Proven for GuestGrants {}
impl sealed::Proven for Acting {}

/// The second door: what one plugin may reach for, on behalf of one caller.
/// Made from a proof that the caller may run it; asks [`decide()`] each time.
#[derive(Clone, Debug)]
pub struct GuestGrants {
    caller: Caller,
    app: AppRef,
    plugin: PluginName,
    /// Whose grants they are: a markdown agent runs with those of the agent that runs it.
    granted_to: PluginName,
    requested: Arc<[Capability]>,
    granted: Arc<[Capability]>,
    shipped: Arc<[Capability]>,
}

impl GuestGrants {
    /// What `plugin` may do for the caller of `proof`, with what `runs` was granted.
    pub fn new(proof: &impl InApp, plugin: PluginName, runs: &Resolved) -> GuestGrants {
        GuestGrants {
            caller: for_later(proof.caller()),
            app: proof.app().clone(),
            plugin,
            granted_to: runs.name.clone(),
            requested: runs.requested.clone(),
            granted: runs.granted.clone(),
            shipped: runs.shipped.clone(),
        }
    }

    /// The same plugin with what stands granted now.
    pub fn as_of(&self, now: &Now) -> GuestGrants {
        let granted = self.shipped.iter().chain(now.granted_to(&self.granted_to)).cloned().collect();
        let app = AppRef { suspended: now.suspended, ..self.app.clone() };
        let caller = Caller { standing: Standing::App(app.clone()), ..self.caller.clone() };
        GuestGrants { caller, app, granted, ..self.clone() }
    }

    /// What it asked for and was granted.
    pub fn effective(&self) -> impl Iterator<Item = &Capability> {
        self.granted.iter().filter(|given| self.requested.iter().any(|wish| given.within(wish)))
    }

    /// Asks the gate.
    ///
    /// # Errors
    /// Why not, for the guest to read.
    pub fn permit(&self, reach: &Reach<'_>) -> Result<(), Denied> {
        let who =
            Principal::Guest { caller: &self.caller, requested: &self.requested, granted: &self.granted };
        decide(who, action_of(reach), &Resource::Outside(reach.clone()))
    }

    /// The plugin that runs.
    pub fn plugin(&self) -> &PluginName {
        &self.plugin
    }
}

impl InApp for GuestGrants {
    fn app(&self) -> &AppRef {
        &self.app
    }
    fn caller(&self) -> &Caller {
        &self.caller
    }
}

/// A proof kept for later: for work that outlives the request that was allowed.
#[derive(Clone, Debug)]
pub struct Acting {
    caller: Caller,
    app: AppRef,
}

impl Acting {
    /// The same, for what something in a trace leads to.
    #[must_use]
    pub fn within(&self, trace: Option<TraceContext>) -> Acting {
        Acting { caller: Caller { trace, ..self.caller.clone() }, app: self.app.clone() }
    }

    /// The same standing as `proof`.
    pub fn of(proof: &impl InApp) -> Acting {
        Acting { caller: for_later(proof.caller()), app: proof.app().clone() }
    }
}

/// A caller of work that may go on for long: what it needs of its app is read anew each time.
fn for_later(caller: &Caller) -> Caller {
    Caller { version: None, ..caller.clone() }
}

impl InApp for Acting {
    fn app(&self) -> &AppRef {
        &self.app
    }
    fn caller(&self) -> &Caller {
        &self.caller
    }
}
