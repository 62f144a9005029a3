//! `oom-reap`: processes are killed and their memory is torn down from outside while they are still dying, and while others
//! share it.
//!
//! Kernel paths: __oom_reap_task_mm() with unmap_page_range() under the read lock, by process_mrelease(2) and, in a memory
//! cgroup of its own that is too small, by the OOM killer and its reaper; exit_mmap() beside it, MMF_OOM_SKIP.
//! Races: the reaper against exit, faults, fork and reclaim; the survivors must keep what they shared with the dead.
//! Shown by: the count of releases, and oom_kill where there is such a cgroup. A matrix that names this workload must
//! `expect: [oom]`, since the kernel reports what it kills. In a mix nobody runs out of memory.

use crate::board::{ops, Op};
use crate::cgroup::{self, Hierarchy};
use crate::host::Host;
use crate::job::{claim, Ask, Job, Role, Workload};
use crate::life::Life;
use crate::pattern::Patterned;
use crate::pressure;
use crate::region::{HUGE, PAGE};
use crate::size::Size;
use crate::sys;
use rustix::io::Errno;
use rustix::process::{PidfdFlags, Signal};
use std::time::Duration;

/// The table's entry.
pub struct OomReap;

ops!(OPS:
    FORK = "forks",
    KILL = "kills",
    RELEASE = "releases",
    GROUP = "groups-made",
    OOM = "expected-oom-kills",
    COMPACT = "compactions",
    RECLAIM = "reclaims",
);

/// How many who kill there are.
const KILLERS: usize = 3;

/// The most pages of one.
const MOST: usize = 4 * HUGE;

/// The limit of the cgroup that runs out of memory.
const LIMIT: u64 = 12 << 20;

impl Workload for OomReap {
    fn name(&self) -> &'static str {
        "oom-reap"
    }

    fn about(&self) -> &'static str {
        "the memory of dying processes is torn down from outside; expects OOM kills in a cgroup"
    }

    fn ops(&self) -> &'static [&'static str] {
        OPS
    }

    fn prepare(&self, ask: &Ask, host: &Host) -> Result<Job, String> {
        let size = Size::of(ask, host)?;
        let pages = size.each_resident(KILLERS * 3, 256)?.min(MOST);
        // The memory is the user's to say in a mix only, and there nobody expects an OOM kill.
        let hierarchy = if ask.full() && ask.memory.is_none() { cgroup::find() } else { None };
        let seed = ask.seed;
        let mut says = vec![size.says(host), format!("{KILLERS} processes kill their children, of {pages} pages each")];
        let mut roles = vec![Role::new("killer", KILLERS as u32, move |life| {
            let Some(mut region) = life.map(pages, HUGE, seed ^ life.id) else { return };
            life.fill(&mut region, 0..pages);
            for _ in 0..30 {
                if kill_one(life, &mut region).is_none() {
                    return;
                }
            }
            std::mem::forget(region);
        })];
        roles.extend(pressure::compact(host, COMPACT).map(|role| Role { count: 1, ..role }));
        roles.extend(pressure::reclaim(ask, RECLAIM));
        let mut claims = vec![claim("releases", &["releases"], 4)];
        if ask.full() && ask.memory.is_none() {
            claims.push(claim("oom-kills", &["oom_kill"], 1));
        }
        if let Some(hierarchy) = hierarchy {
            says.push(format!("one process that runs out of the {} MiB of its cgroup again and again", LIMIT >> 20));
            roles.push(Role::new("oom", 1, move |life| run_out(life, &hierarchy, seed)));
        } else {
            says.push("no cgroup to run out of memory in".to_owned());
        }
        Ok(Job { says, claims, roles })
    }
}

/// Forks a child that writes, faults and forks, kills it in the midst of that, and tears its memory down before it can.
fn kill_one(life: &mut Life<'_>, region: &mut Patterned) -> Option<()> {
    let pages = region.pages();
    let forked = life.fork(|life| {
        region.set_generation(1);
        loop {
            let span = life.rng.span(pages, pages / 2);
            life.fill(region, span);
            if life.rng.percent(30) {
                // A grandchild dies with its parent, and shares what is being torn down.
                let _ = life.fork(|life| {
                    life.verify(region, 0..pages);
                });
            }
        }
    });
    let child = life.check(FORK, "fork", forked)?;
    let pidfd = life.check(Op::SPAWN, "pidfd_open", rustix::process::pidfd_open(child, PidfdFlags::empty()))?;
    std::thread::sleep(Duration::from_micros(life.rng.between(100, 8000) as u64));
    life.check(KILL, "kill", rustix::process::kill_process(child, Signal::KILL));
    // ESRCH: it is gone already. EINVAL: it is not dying yet, or others share its mm. ENOSYS before 5.15.
    let may = &[Errno::SRCH, Errno::INVAL, Errno::NOSYS, Errno::INTR];
    life.check_or(RELEASE, "process_mrelease", sys::process_mrelease(&pidfd), may);
    let sound = life.verify(region, 0..pages);
    let span = life.rng.span(pages, pages / 4);
    life.fill(region, span);
    life.reap(&[child]);
    sound.then_some(())
}

/// Runs out of memory in a cgroup.
fn run_out(life: &mut Life<'_>, hierarchy: &Hierarchy, seed: u64) {
    let Some(group) = life.check(GROUP, "mkdir in a cgroup", hierarchy.make("oom")) else { return };
    life.check_or(GROUP, "a cgroup's limit", group.limit(LIMIT, Some(0)), &[Errno::BUSY]);
    let forked = life.fork(|life| {
        if life.check(GROUP, "cgroup.procs", group.enter(0)).is_none() {
            return;
        }
        let pages = 2 * LIMIT as usize / PAGE;
        let Some(mut region) = life.map(pages, 1, seed) else { return };
        // Shared with one who is killed as well, or not.
        let _ = life.fork(|life| life.fill(&mut region, 0..pages / 4));
        life.fill(&mut region, 0..pages);
        // Not reached where the limit holds.
        std::mem::forget(region);
    });
    let Some(child) = life.check(FORK, "fork", forked) else { return };
    let ended = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
    match ended.ok().flatten().and_then(|(_, status)| status.terminating_signal()) {
        Some(libc::SIGKILL) => life.did(OOM),
        Some(signal) => life.violation("workload-signal", &format!("out of memory, killed by signal {signal}")),
        None => {}
    }
    std::thread::sleep(Duration::from_millis(100));
}
