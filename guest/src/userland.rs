//! What a machine's userland has done by its first login, in miniature: processes that have a heap, fork, write to what
//! they share, give a part of it back, and exit. A kernel that cannot even bear that says so before the workload starts.
//!
//! With huge pages on the heap these are the plainest ways to come to one that is mapped by page table entries: a write
//! after fork splits the child's huge entry (do_huge_pmd_wp_page()), munmap(2) of a half splits the parent's, and both exits
//! take them down one by one (zap_pte_range()).

use rustix::io::Errno;
use rustix::mm::{mmap_anonymous, munmap, MapFlags, ProtFlags};
use rustix::process::{waitpid, Pid, WaitOptions};

/// How many of them there are, one after the other.
const SESSIONS: u32 = 2;

/// A huge page of x86-64.
const HUGE: usize = 2 << 20;
const PAGE: usize = 4096;

/// Lives through it, and waits until it is over. That there is no memory or no process to be had is for the workload to
/// meet.
pub fn live() {
    for _ in 0..SESSIONS {
        in_child(session);
    }
}

fn session() {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
    let mapped = unsafe { mmap_anonymous(std::ptr::null_mut(), 2 * HUGE, ProtFlags::READ | ProtFlags::WRITE, flags) };
    let Ok(mapped) = mapped else { return };
    let heap = mapped.cast::<u8>();
    let heap = heap.wrapping_add(heap.align_offset(HUGE));
    let write = |from: usize, to: usize| {
        for at in (from..to).step_by(PAGE) {
            // SAFETY: `heap` is HUGE bytes of the mapping above, which is twice as large, writable, and nobody else's.
            unsafe { heap.wrapping_add(at).write_volatile(1) };
        }
    };
    write(0, HUGE);
    in_child(|| write(0, HUGE / 2));
    // SAFETY: a part of the mapping above; the lower half is all that is used from now on.
    let _ = unsafe { munmap(heap.wrapping_add(HUGE / 2).cast(), HUGE / 2) };
    write(0, HUGE / 2);
}

/// Runs `body` in a process of its own, and waits for its end; the exit status, if it got that far.
fn in_child(body: impl FnOnce()) -> Option<i32> {
    // SAFETY: neither PID 1 nor a child of this function's has threads: no lock is held by anyone else.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        body();
        // SAFETY: ends this copy of PID 1 without running any more of its code, its memory still mapped.
        unsafe { libc::_exit(0) };
    }
    let pid = Pid::from_raw(pid).filter(|_| pid > 0)?;
    loop {
        match waitpid(Some(pid), WaitOptions::empty()) {
            Err(Errno::INTR) => {}
            ended => return ended.ok().flatten().and_then(|(_, status)| status.exit_status()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_and_leaves_no_process_behind() {
        // In a process of its own, so that children of other tests do not count.
        let status = in_child(|| {
            live();
            let none_left = matches!(waitpid(None, WaitOptions::NOHANG), Err(Errno::CHILD));
            // SAFETY: as in in_child(): this process is a copy that ends here.
            unsafe { libc::_exit(if none_left { 42 } else { 1 }) };
        });
        assert_eq!(status, Some(42));
    }
}
