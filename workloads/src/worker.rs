//! This program as another one: what workloads exec, since a guest may have no other program.

use std::ffi::CStr;
use std::process::ExitCode;

/// The first argument of a process that is to end at once.
const NOTHING: &CStr = c"--exec-nothing";

/// What this program does if it was started as another one; `None` if it was not.
pub fn run(args: &[std::ffi::OsString]) -> Option<ExitCode> {
    let first = args.get(1)?;
    if first == NOTHING.to_str().ok()? {
        return Some(ExitCode::SUCCESS);
    }
    if first == COMPILE {
        return Some(ExitCode::from(crate::kbuild_lite::compile(&args[2..])));
    }
    None
}

/// The first argument of a process that is to play the compiler.
pub const COMPILE: &str = "--exec-compile";

/// Becomes a program that ends at once. Ends this process in any case.
pub fn exec_nothing() -> ! {
    let path = c"/proc/self/exe";
    let argv = [path.as_ptr(), NOTHING.as_ptr(), std::ptr::null()];
    // SAFETY: a NULL-terminated array of NUL-terminated strings, alive still. Returns only if it fails, as it may under
    // pressure; _exit then ends this process as the other program would have.
    unsafe {
        libc::execv(path.as_ptr(), argv.as_ptr());
        libc::_exit(0)
    }
}
