//! Memory of a process, as Linux counts it: PSS, so that pages several
//! processes share count once.

use std::{fs, path::PathBuf};

/// The process's own.
pub(crate) fn of(pid: u32) -> String {
    format!("{:.1} MiB", pss_kib(pid) as f64 / 1024.0)
}

/// That of everything below it.
pub(crate) fn of_children(pid: u32) -> String {
    let kib: u64 = descendants(pid).into_iter().map(pss_kib).sum();
    format!("{:.1} MiB", kib as f64 / 1024.0)
}

fn pss_kib(pid: u32) -> u64 {
    let text = fs::read_to_string(PathBuf::from(format!("/proc/{pid}/smaps_rollup"))).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn descendants(pid: u32) -> Vec<u32> {
    let mut found = vec![];
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    for task in tasks {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            found.push(child);
            found.extend(descendants(child));
        }
    }
    found
}
