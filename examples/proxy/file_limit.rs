//! How many files, and so connections, the process may have open.

/// The files that are open beside connections.
const OTHER_FILES: u64 = 64;

/// Raises the limit as far as the system allows, and returns how many client connections fit into
/// it beside `upstream_connections`. `None` where there is no such limit.
#[cfg(unix)]
pub fn max_connections(wanted: usize, upstream_connections: usize) -> Option<usize> {
    let others = OTHER_FILES.saturating_add(upstream_connections as u64);
    let raised = rlimit::increase_nofile_limit((wanted as u64).saturating_add(others));
    let limit = match raised {
        Ok(limit) => limit,
        Err(_) => rlimit::getrlimit(rlimit::Resource::NOFILE).ok()?.0,
    };
    // At least half of the files are for clients.
    let free = limit.saturating_sub(others).max(limit / 2);
    usize::try_from(free).ok()
}

#[cfg(not(unix))]
pub fn max_connections(_: usize, _: usize) -> Option<usize> {
    let _ = OTHER_FILES;
    None
}
