//! The limit on open files: a crowd of connections needs more than the usual soft limit.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit on open files to at least `wanted`, the hard limit too if that is allowed.
/// Returns the limit now in force, which may be lower than wanted. A node started afterwards
/// inherits it.
pub fn raise_open_files(wanted: u64) -> u64 {
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= wanted) {
        return now.current.unwrap_or(u64::MAX);
    }
    let hard = now.maximum.unwrap_or(u64::MAX);
    for goal in [wanted, hard.min(wanted)] {
        let limit = Rlimit {
            current: Some(goal),
            maximum: Some(goal.max(hard)),
        };
        if setrlimit(Resource::Nofile, limit).is_ok() {
            return goal;
        }
    }
    now.current.unwrap_or(u64::MAX)
}

/// How many files this process has open.
pub(crate) fn open_files_now() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64)
}
