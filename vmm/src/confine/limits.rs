//! What the process as a whole may no longer do.

use crate::error::{Error, Result};
use std::io;

/// Address space beyond the guest's memory, in bytes: this program, its threads' stacks and arenas.
const OWN_ADDRESS_SPACE: u64 = 1 << 30;
/// Open files: disks, streams, a few of KVM and a few a control connection.
const OPEN_FILES: u64 = 128;

/// No execve(2) grants privileges from here on; the condition for filters without CAP_SYS_ADMIN (seccomp(2)).
pub(super) fn no_new_privileges() -> Result<()> {
    // SAFETY: takes integers only.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    check(result).map_err(Error::host("PR_SET_NO_NEW_PRIVS"))
}

/// Sets the resource limits.
pub(super) fn set(guest_bytes: u64) -> Result<()> {
    // A core of a VMM would hold its guest's memory; `dump` is for that.
    for (resource, limit, name) in [
        (libc::RLIMIT_CORE, 0, "RLIMIT_CORE"),
        (libc::RLIMIT_NOFILE, OPEN_FILES, "RLIMIT_NOFILE"),
        (libc::RLIMIT_AS, guest_bytes + OWN_ADDRESS_SPACE, "RLIMIT_AS"),
    ] {
        lower(resource, limit).map_err(Error::host(name))?;
    }
    Ok(())
}

/// Lowers a limit, and never raises it.
fn lower(resource: libc::__rlimit_resource_t, to: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for the kernel to write to.
    check(unsafe { libc::getrlimit(resource, &raw mut limit) })?;
    limit = libc::rlimit { rlim_cur: limit.rlim_cur.min(to), rlim_max: limit.rlim_max.min(to) };
    // SAFETY: `limit` is initialized, and only read.
    check(unsafe { libc::setrlimit(resource, &raw const limit) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
