//! `opg tool dev`: builds and tests again on each save.
//!
//! It looks at the times of the files a few times a second. A project has a
//! handful of them, and looking works on every file system.

use super::{At, build, project::Project, remote, test};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// How often the files are looked at: less than one notices.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// What a build writes.
const NOT_OURS: [&str; 3] = ["target", "node_modules", "__pycache__"];

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    test: test::How,
    /// Upload each build that passes its cases.
    #[arg(long)]
    publish: bool,
    #[command(flatten)]
    server: remote::ServerArgs,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let stop = crate::serve::stop_signal();
    tokio::pin!(stop);
    let At { dir } = args.test.at();
    // What is wrong from the start is said once, and not in a loop.
    Project::find(&dir)?;
    let server = args.publish.then(|| args.server.connect()).transpose()?;
    loop {
        let seen = times(&dir);
        tokio::select! {
            () = &mut stop => return Ok(()),
            () = round(&args, &dir, server.as_ref()) => {}
        }
        eprintln!("\nwaiting for a change in {} (Ctrl-C ends)", dir.display());
        tokio::select! {
            () = &mut stop => return Ok(()),
            () = changed(&dir, &seen) => eprintln!(),
        }
    }
}

/// One build and test; what goes wrong is told, and the next save tries again.
async fn round(args: &Args, dir: &Path, server: Option<&remote::Server>) {
    let done = async {
        let project = Project::find(dir)?;
        let (built, project) = tokio::task::spawn_blocking(move || (build::build(&project), project)).await?;
        let artifact = built?;
        test::test(&args.test, &project.name, &artifact, test::PUBLISH).await?;
        if let Some(server) = server {
            remote::publish::upload(
                server,
                &project.name,
                (artifact, None),
                super::Output { json: false, quiet: false },
            )
            .await?;
        }
        anyhow::Ok(())
    };
    if let Err(cause) = done.await
        && !cause.is::<super::Told>()
    {
        eprintln!("opg tool: {}", super::text::lines(&format!("{cause:#}")));
    }
}

async fn changed(dir: &Path, seen: &BTreeMap<PathBuf, SystemTime>) {
    while times(dir) == *seen {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// When each file of the project was last written.
fn times(dir: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // Cargo rewrites its lock file when it likes.
            if name.starts_with('.') || NOT_OURS.contains(&name.as_str()) || name == "Cargo.lock" {
                continue;
            }
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                folders.push(entry.path());
            } else if let Ok(time) = meta.modified() {
                found.insert(entry.path(), time);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_save_is_seen_and_what_a_build_writes_is_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("src")).unwrap();
        fs::create_dir(dir.path().join("target")).unwrap();
        fs::write(dir.path().join("src/lib.rs"), "a").unwrap();
        let seen = times(dir.path());
        fs::write(dir.path().join("target/x.wasm"), "built").unwrap();
        assert_eq!(times(dir.path()), seen);
        fs::write(dir.path().join("src/more.rs"), "b").unwrap();
        let noticed = tokio::time::timeout(Duration::from_secs(5), changed(dir.path(), &seen));
        assert!(noticed.await.is_ok());
    }
}
