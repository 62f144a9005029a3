//! `guest-init`: PID 1 of an mmtorture guest.
//!
//! It says hello, reads what is asked of it, sets up swap and knobs, runs one workload, tells all that on the event
//! port, and powers off. It must not exit, panic or die whatever happens: the kernel would panic over it, and that
//! would be taken for a finding.

mod counters;
mod knobs;
mod memcg;
mod modules;
mod mounts;
mod port;
mod processes;
mod repeat;
mod root;
mod scratch;
mod setup;
mod spawn;
mod swap;
mod torture;
mod userland;

use anyhow::{ensure, Context as _};
use mmtorture_protocol::{EventKind, Phase, Request, REQUEST_PATH, VERSION};
use port::{uptime_ms, Port};
use rustix::mm::MlockAllFlags;
use rustix::system::RebootCommand;
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use torture::Heart;

/// How long killed processes may take to be gone, in milliseconds. What takes longer is stuck in the kernel.
const REAP_PATIENCE_MS: u64 = 10_000;

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!(
            "guest-init: this is PID 1 of an mmtorture guest, and mounts file systems and powers off the machine; \
             expected to be started by a kernel as /init, not as process {}",
            std::process::id()
        );
        return ExitCode::from(2);
    }
    std::panic::set_hook(Box::new(|info| {
        // The port in use may be what panicked.
        if let Ok(mut port) = Port::open() {
            port.send(EventKind::Error { message: format!("guest-init: {info}") });
            port.drain();
        }
        power_off()
    }));
    mounts::early();
    match Port::open() {
        Ok(mut port) => {
            if let Err(error) = live(&mut port) {
                port.send(EventKind::Error { message: format!("{error:#}") });
            }
            port.drain();
        }
        // The console is the kernel's; its log is the one place left.
        Err(error) => {
            let line = format!("guest-init: cannot open {}: {error}", mmtorture_protocol::EVENT_TTY);
            let _ = std::fs::write("/dev/kmsg", line);
        }
    }
    power_off()
}

/// The guest's life from hello to the last event.
fn live(port: &mut Port) -> anyhow::Result<()> {
    let request = read_request();
    port.send(hello(request.as_ref().map(|request| request.trial.clone()).unwrap_or_default()));
    let request = request?;

    port.send(EventKind::Phase { phase: Phase::Setup });
    mounts::rest(request.memcg)?;
    modules::load()?;
    protect();
    let children = processes::watch_children().context("cannot watch for dead children")?;
    let ready = setup::all(&request, port);
    let mut heart = Heart::new(request.heartbeat_ms);
    if !ready.as_asked {
        // Whatever the workload did would show nothing about the cell: its time is better spent on the next one.
        port.send(EventKind::Done { elapsed_ms: 0, vmstat: Default::default(), ops: Default::default() });
        return Ok(());
    }

    // With all settings in place, and before anything is counted.
    userland::live();

    port.send(EventKind::Phase { phase: Phase::Torture });
    for repeat in &request.repeat {
        repeat::start(repeat).with_context(|| format!("cannot write {} again and again", repeat.path))?;
    }
    let before = counters::read();
    let start = uptime_ms();
    let procs = ready.group.as_ref().map(|group| group.procs.as_path());
    torture::run(&request, port, &mut heart, &children, procs)?;
    let elapsed_ms = uptime_ms() - start;
    let vmstat = counters::deltas(&before, counters::read());

    port.send(EventKind::Phase { phase: Phase::TearDown });
    ready.group.iter().for_each(|group| port.send(group.used()));
    processes::kill_all();
    let patience = uptime_ms() + REAP_PATIENCE_MS;
    let gone = loop {
        torture::drain_signals(&children);
        if processes::reap(None).none_left {
            break true;
        }
        if uptime_ms() >= patience {
            break false;
        }
        heart.wait(port, &[children.as_fd()], patience);
    };
    if !gone {
        let detail = format!("{} s after SIGKILL: {}", REAP_PATIENCE_MS / 1000, processes::states());
        port.send(EventKind::Violation { kind: "unkillable".to_owned(), detail });
    }
    // swapoff would wait for whatever holds an unkillable process, too.
    if let Some(device) = ready.swap.filter(|_| gone) {
        if let Err(error) = swap::off(&device) {
            // Nobody is left to own a page of it: ENOMEM here means pages or swap entries have leaked.
            let detail = format!("swapoff of {device} with no process left: {error}");
            port.send(EventKind::Violation { kind: "swapoff-failed".to_owned(), detail });
        }
    }
    port.send(EventKind::Done { elapsed_ms, vmstat, ops: heart.ops });
    Ok(())
}

fn read_request() -> anyhow::Result<Request> {
    let text = std::fs::read(REQUEST_PATH).with_context(|| format!("cannot read {REQUEST_PATH}"))?;
    parse_request(&text)
}

fn parse_request(text: &[u8]) -> anyhow::Result<Request> {
    let request: Request = serde_json::from_slice(text).with_context(|| format!("cannot parse {REQUEST_PATH}"))?;
    ensure!(
        request.version == VERSION,
        "{REQUEST_PATH} is version {}, this guest-init speaks {VERSION}: host and initramfs are of different builds",
        request.version
    );
    ensure!(request.heartbeat_ms >= 50, "a heartbeat of {} ms; expected at least 50", request.heartbeat_ms);
    Ok(request)
}

/// Everything in it comes from system calls: no file system need be mounted for it.
fn hello(trial: String) -> EventKind {
    let name = rustix::system::uname();
    let memory = rustix::system::sysinfo();
    let cpus = rustix::thread::sched_getaffinity(None).map_or(0, |set| set.count());
    EventKind::Hello {
        version: VERSION,
        trial,
        release: name.release().to_string_lossy().into_owned(),
        build: name.version().to_string_lossy().into_owned(),
        cpus,
        mem_kib: memory.totalram.saturating_mul(memory.mem_unit.into()) / 1024,
    }
}

/// The heartbeat must tell a slow guest from a dead one: PID 1 neither waits for swap, nor for its turn, nor is killed.
/// What of this a kernel refuses only makes the heart beat less regularly.
fn protect() {
    let _ = std::fs::write("/proc/self/oom_score_adj", "-1000");
    let _ = rustix::process::setpriority_process(None, -20);
    let _ = rustix::mm::mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE);
}

/// Ends the machine. Never returns.
fn power_off() -> ! {
    // Without ACPI the kernel knows no way to power this machine off and would only halt (kernel/reboot.c,
    // kernel_can_power_off). A restart ends it as well: the host starts machines not to come up again.
    let acpi = std::path::Path::new("/sys/firmware/acpi").exists();
    let end = if acpi { RebootCommand::PowerOff } else { RebootCommand::Restart };
    loop {
        let _ = rustix::system::reboot(end);
        // Not permitted, or broken. The host has seen the last event and will not wait for more.
        // SAFETY: pause has no memory effects.
        unsafe { libc::pause() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = r#"{"version":2,"trial":"t","seed":7,"seconds":5,"heartbeat_ms":250,"knobs":[],"nodes":1,
        "repeat":[],"scratch":{"backing":{"kind":"tmpfs"},"options":[]},"memcg":{"version":"none"},"swap":{"kind":"zram","mib":256},"workload":"anon-churn"}"#;

    #[test]
    fn a_request_of_this_version_is_taken() {
        let request = parse_request(REQUEST.as_bytes()).unwrap();
        assert_eq!((request.trial.as_str(), request.seed), ("t", 7));
    }

    #[test]
    fn any_other_says_why_not() {
        let refuse =
            |from: &str, to: &str| format!("{:#}", parse_request(REQUEST.replace(from, to).as_bytes()).unwrap_err());
        assert!(refuse("\"version\":2", "\"version\":1").contains("different builds"));
        assert!(refuse(":250", ":10").contains("at least 50"));
        assert!(refuse("seconds", "secs").contains("unknown field `secs`"));
    }

    #[test]
    fn hello_knows_the_machine() {
        let EventKind::Hello { release, cpus, mem_kib, .. } = hello("t".into()) else { panic!() };
        assert!(!release.is_empty() && cpus > 0 && mem_kib > 1024);
    }
}
