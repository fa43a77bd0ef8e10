//! From a session to its workspace, and from here to the threads that wait for disks.
//!
//! Whoever comes here has been asked whether the session is theirs: by the database, or because they run in it.

use super::{
    Amount, Space, WorkspaceError,
    meter::OfApp,
    space::{absent_is_fine, subdirectory},
    store,
};
use crate::{
    app::App,
    grants::InApp,
    limits::{
        WORKSPACE_IMPORTS_MAX, WORKSPACE_IMPORTS_PER_APP_MAX, WORKSPACE_JOBS_MAX, WORKSPACE_JOBS_PER_APP_MAX,
    },
    tenants::TenantTx,
};
use cap_fs_ext::DirExt;
use cap_std::{ambient_authority, fs::Dir};
use chrono::{DateTime, Utc};
use std::{
    collections::{HashMap, HashSet},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

/// The workspaces of this host.
pub struct Workspaces {
    root: PathBuf,
    apps: Mutex<HashMap<Uuid, Arc<AppSpaces>>>,
    jobs: Arc<Semaphore>,
    imports: Arc<Semaphore>,
    /// Those whose session is being made: nobody is to think that they are of none.
    being_made: Mutex<HashSet<Uuid>>,
}

/// Those of one app.
struct AppSpaces {
    app_id: Uuid,
    jobs: Arc<Semaphore>,
    imports: Arc<Semaphore>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    /// Counted once it is needed.
    holds: Option<Arc<OfApp>>,
    spaces: HashMap<Uuid, Arc<Space>>,
}

impl Workspaces {
    /// In a directory, which is made when something is first written.
    pub fn in_directory(root: PathBuf) -> Workspaces {
        Workspaces {
            root,
            apps: Mutex::default(),
            jobs: Arc::new(Semaphore::new(WORKSPACE_JOBS_MAX)),
            imports: Arc::new(Semaphore::new(WORKSPACE_IMPORTS_MAX)),
            being_made: Mutex::default(),
        }
    }

    fn app(&self, app_id: Uuid) -> Arc<AppSpaces> {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || AppSpaces {
            app_id,
            jobs: Arc::new(Semaphore::new(WORKSPACE_JOBS_PER_APP_MAX)),
            imports: Arc::new(Semaphore::new(WORKSPACE_IMPORTS_PER_APP_MAX)),
            open: Mutex::default(),
        };
        apps.entry(app_id).or_insert_with(|| Arc::new(new())).clone()
    }

    /// Forgets what nobody has open. It is counted again when somebody needs it.
    pub fn tidy(&self) {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        apps.retain(|_, app| {
            // Whoever is counting holds it; it is not idle then.
            let Ok(mut open) = app.open.try_lock() else { return true };
            open.spaces.retain(|_, space| Arc::strong_count(space) > 1);
            !open.spaces.is_empty() || Arc::strong_count(app) > 1
        });
    }

    fn open_root(&self, make: bool) -> io::Result<Option<Dir>> {
        if make {
            Dir::create_ambient_dir_all(&self.root, ambient_authority())?;
        }
        found(Dir::open_ambient_dir(&self.root, ambient_authority()))
    }

    /// The right to unpack an archive, among its app's and among all; none while others have it.
    pub(super) fn turn_to_unpack(&self, app_id: Uuid) -> Option<[OwnedSemaphorePermit; 2]> {
        let of_app = self.app(app_id).imports.clone().try_acquire_owned().ok()?;
        Some([of_app, self.imports.clone().try_acquire_owned().ok()?])
    }

    fn being_made(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        self.being_made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which apps and sessions have a directory here, but for those that are being made.
    pub(super) fn on_disk(&self) -> io::Result<Vec<(Uuid, Uuid)>> {
        let Some(root) = self.open_root(false)? else { return Ok(vec![]) };
        let mut there = vec![];
        for app in ids(&root)? {
            let Some(dir) = found(root.open_dir_nofollow(app.to_string()))? else { continue };
            there.extend(ids(&dir)?.into_iter().map(|session| (app, session)));
        }
        let being_made = self.being_made();
        there.retain(|(_, session)| !being_made.contains(session));
        Ok(there)
    }
}

impl AppSpaces {
    /// The workspace of a session; none where there is none and none is to be made.
    fn space(
        &self,
        all: &Workspaces,
        session_id: Uuid,
        make: bool,
    ) -> Result<Option<Arc<Space>>, WorkspaceError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(space) = open.spaces.get(&session_id) {
            return Ok(Some(space.clone()));
        }
        let Some(root) = all.open_root(make)? else { return Ok(None) };
        let app = self.app_id.to_string();
        let app = if make { Some(subdirectory(&root, &app)?) } else { found(root.open_dir_nofollow(&app))? };
        let Some(app) = app else { return Ok(None) };
        // Before one more is made: what is counted is what was there.
        let holds = match &open.holds {
            Some(holds) => holds.clone(),
            None => open.holds.insert(Arc::new(OfApp::holding(count(&app)?))).clone(),
        };
        let name = session_id.to_string();
        let home = if make { Some(subdirectory(&app, &name)?) } else { found(app.open_dir_nofollow(&name))? };
        let Some(home) = home else { return Ok(None) };
        let space = Space::open(holds, &home)?;
        open.spaces.insert(session_id, space.clone());
        Ok(Some(space))
    }

    /// Removes a session's workspace, for good.
    fn remove(&self, all: &Workspaces, session_id: Uuid) -> Result<(), WorkspaceError> {
        let Some(space) = self.space(all, session_id, false)? else { return Ok(()) };
        space.end();
        let Some(root) = all.open_root(false)? else { return Ok(()) };
        let name = self.app_id.to_string();
        if let Some(app) = found(root.open_dir_nofollow(&name))? {
            app.remove_dir_all(session_id.to_string()).or_else(absent_is_fine)?;
        }
        // Until now, so that nobody opens it anew; the app's own directory goes with its last one.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.spaces.remove(&session_id);
        drop(root.remove_dir(&name));
        Ok(())
    }
}

fn count(app: &Dir) -> Result<Amount, WorkspaceError> {
    let mut holds = Amount::default();
    for session in ids(app)? {
        if let Some(home) = found(app.open_dir_nofollow(session.to_string()))? {
            holds += Space::count(&home)?;
        }
    }
    Ok(holds)
}

/// The directories in one that are named by an id.
fn ids(dir: &Dir) -> io::Result<Vec<Uuid>> {
    let mut ids = vec![];
    for entry in dir.entries()? {
        let entry = entry?;
        let id = entry.file_name().to_str().and_then(|name| Uuid::parse_str(name).ok());
        if entry.file_type()?.is_dir() {
            ids.extend(id);
        }
    }
    Ok(ids)
}

fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

// --- off the runtime's threads ---

/// Does something that waits for a disk, on a thread for that. Once begun it is carried through, also where nobody
/// waits for it any more.
pub(crate) async fn job<T: Send + 'static>(
    app: &App,
    app_id: Uuid,
    work: impl FnOnce() -> Result<T, WorkspaceError> + Send + 'static,
) -> Result<T, WorkspaceError> {
    let stopped = || WorkspaceError::Io(io::Error::other("the host is stopping"));
    // The app's first: who waits for their own app keeps no other waiting.
    let of_app = app.workspaces.app(app_id).jobs.clone().acquire_owned().await.map_err(|_| stopped())?;
    let of_all = app.workspaces.jobs.clone().acquire_owned().await.map_err(|_| stopped())?;
    let work = app.runtime.spawn_blocking(move || {
        let _permits = (of_app, of_all);
        work()
    });
    work.await.unwrap_or_else(|cause| Err(WorkspaceError::Io(io::Error::other(cause))))
}

/// The same for work that fails in more ways.
pub(crate) async fn job_of<T: Send + 'static, E: From<WorkspaceError> + Send + 'static>(
    app: &App,
    app_id: Uuid,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    job(app, app_id, move || Ok(work())).await?
}

async fn open(
    app: &App,
    app_id: Uuid,
    session_id: Uuid,
    make: bool,
) -> Result<Option<Arc<Space>>, WorkspaceError> {
    let here = app.clone();
    let opened = move || here.workspaces.app(app_id).space(&here.workspaces, session_id, make);
    job(app, app_id, opened).await
}

/// The workspace of a session; none where nothing was ever written.
///
/// # Errors
/// [`WorkspaceError::Gone`], and others.
pub(crate) async fn existing(
    app: &App,
    proof: &impl InApp,
    session_id: Uuid,
) -> Result<Option<Arc<Space>>, WorkspaceError> {
    if let Some(space) = open(app, proof.app().app_id, session_id, false).await? {
        return Ok(Some(space));
    }
    let mut tx = app.tenant_tx(proof).await?;
    match store::was_made(&mut tx, session_id).await? {
        None => Err(WorkspaceError::NoSession),
        Some(true) => Err(WorkspaceError::Gone),
        Some(false) => Ok(None),
    }
}

/// The same for whoever writes: it is made where there was none.
///
/// # Errors
/// [`WorkspaceError::Gone`], and others.
pub(crate) async fn to_write(
    app: &App,
    proof: &impl InApp,
    session_id: Uuid,
) -> Result<Arc<Space>, WorkspaceError> {
    if let Some(space) = existing(app, proof, session_id).await? {
        return Ok(space);
    }
    let app_id = proof.app().app_id;
    let space = open(app, app_id, session_id, true).await?.ok_or(WorkspaceError::Gone)?;
    let remembered = async {
        let mut tx = app.tenant_tx(proof).await?;
        store::made(&mut tx, session_id, app_id, app.now()).await?;
        tx.commit().await
    };
    if let Err(cause) = remembered.await {
        // The session was deleted meanwhile, or nobody would know what to do with it.
        remove(app, app_id, session_id).await?;
        return Err(cause.into());
    }
    Ok(space)
}

/// A workspace of a session that is being made. Dropped before that is there, it is swept up.
pub(crate) struct BeingMade {
    app: App,
    session_id: Uuid,
}

impl Drop for BeingMade {
    fn drop(&mut self) {
        self.app.workspaces.being_made().remove(&self.session_id);
    }
}

/// Makes the workspace of a session to be of another's files, as they were before these turns, and those that were a
/// part of them; whether they are, or as they are now. Keep what it answers until the session is there.
///
/// # Errors
/// [`WorkspaceError::Full`], and the disk's; nothing is left then.
pub(crate) async fn copy(
    app: &App,
    app_id: Uuid,
    from: Arc<Space>,
    to: Uuid,
    turns: Vec<Uuid>,
) -> Result<(bool, BeingMade), WorkspaceError> {
    app.workspaces.being_made().insert(to);
    let being_made = BeingMade { app: app.clone(), session_id: to };
    let here = app.clone();
    let copied = job(app, app_id, move || {
        let space = here.workspaces.app(app_id).space(&here.workspaces, to, true)?;
        let space = space.ok_or(WorkspaceError::Gone)?;
        from.copy_to(&space, &|of| of.iter().any(|turn| turns.contains(turn)))
    });
    match copied.await {
        Ok(as_then) => Ok((as_then, being_made)),
        Err(error) => {
            remove(app, app_id, to).await?;
            Err(error)
        }
    }
}

/// Remembers that a session has a workspace, with whatever else is written of it.
///
/// # Errors
/// The database's.
pub(crate) async fn remember(
    tx: &mut TenantTx,
    session_id: Uuid,
    app_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    store::made(tx, session_id, app_id, now).await
}

/// Does something with a session's workspace, where it has one and it is here; none where not.
///
/// # Errors
/// The work's.
pub(crate) async fn where_it_is<T: Send + 'static>(
    app: &App,
    app_id: Uuid,
    session_id: Uuid,
    work: impl FnOnce(&Space) -> Result<T, WorkspaceError> + Send + 'static,
) -> Result<Option<T>, WorkspaceError> {
    let here = app.clone();
    job(app, app_id, move || {
        let space = here.workspaces.app(app_id).space(&here.workspaces, session_id, false)?;
        space.map(|space| work(&space)).transpose()
    })
    .await
}

/// Removes the workspace of a session that is gone.
///
/// # Errors
/// The disk's; the sweep tries again.
pub(crate) async fn remove(app: &App, app_id: Uuid, session_id: Uuid) -> Result<(), WorkspaceError> {
    let here = app.clone();
    let removed = move || here.workspaces.app(app_id).remove(&here.workspaces, session_id);
    job(app, app_id, removed).await
}
