//! Tiny guests of a few instructions, run by the program as built, on this host's KVM. A software KVM serves: it emulates
//! every instruction, but there are few.

mod bed;
mod code;
mod guest;

use guest::{vmm, Guest};
use mmtorture_vmm::control::{Command, State};
use mmtorture_vmm::ending::{Ending, ResetBy};
use mmtorture_vmm::machine::PANIC_GRACE;
use std::time::{Duration, Instant};

/// Ends the test with a message where guests cannot be run.
macro_rules! needs_kvm {
    () => {
        if let Some(missing) = guest::missing() {
            println!("skipped: {missing}");
            return;
        }
    };
}

const RESET: Ending = Ending::Reset { by: ResetBy::I8042 };

#[test]
fn what_a_guest_writes_to_its_ports_comes_out() {
    needs_kvm!();
    let ended = vmm(Guest::new(code::hello()));
    assert_eq!(ended.ending, RESET);
    assert_eq!((ended.console.as_str(), ended.events.as_str()), ("ok", "{}"));
}

#[test]
fn endings_are_told_apart() {
    needs_kvm!();
    let ended = |code| vmm(Guest::new(code)).ending;
    assert_eq!(ended(code::power_off()), Ending::PowerOff);
    assert_eq!(ended(code::acpi_reset()), Ending::Reset { by: ResetBy::Acpi });
    assert!(matches!(ended(code::triple_fault()), Ending::TripleFault { vcpu: 0, registers: Some(_) }));
    assert_eq!(ended(code::panic_and_reset()), Ending::Panicked);
}

#[test]
fn a_panic_without_a_reset_is_told_at_once_and_ends_after_its_grace() {
    needs_kvm!();
    let mut running = Guest::new(code::panic_and_spin()).start();
    running.wait_for("panicked");
    let told = Instant::now();
    assert_eq!(running.end().ending, Ending::Panicked);
    // A busy host may have told us late, but not as late as the ending.
    assert!(told.elapsed() > PANIC_GRACE / 2, "{:?}", told.elapsed());
}

#[test]
fn all_vcpus_start() {
    needs_kvm!();
    for cpus in [1, 2, 4, 16] {
        let ended = vmm(Guest::new(code::smp()).args(&["--cpus", &cpus.to_string()]));
        assert_eq!(ended.ending, RESET);
        assert_eq!(ended.console, "x".repeat(cpus));
    }
}

#[test]
fn a_guest_that_spins_is_paused_dumped_and_ended() {
    needs_kvm!();
    let mut running = Guest::new(code::spin()).control().args(&["--cpus", "2"]).start();
    running.wait_for("running");
    let state = |running: &guest::Running| running.ask(Command::Status {}).status.unwrap().state;
    assert_eq!(state(&running), State::Running);
    running.ask(Command::Pause {});
    assert_eq!(state(&running), State::Paused);
    running.ask(Command::Resume {});
    let core = running.dump();
    // ET_CORE of EM_X86_64.
    assert_eq!((&core[..4], core[16], core[18]), (&b"\x7fELF"[..], 4, 62));
    assert_eq!(state(&running), State::Running);
    running.ask(Command::Quit {});
    assert_eq!(running.end().ending, Ending::Quit);
}

#[test]
fn an_nmi_reaches_the_guest() {
    needs_kvm!();
    for only in [None, Some(0)] {
        let mut running = Guest::new(code::nmi()).control().start();
        running.wait_for("running");
        running.wait_for_console("r");
        running.ask(Command::Nmi { vcpu: only });
        assert_eq!(running.end().ending, RESET);
    }
}

#[test]
fn every_thread_is_confined() {
    needs_kvm!();
    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().set_len(1 << 20).unwrap();
    let disk = image.path().display().to_string();
    let mut running = Guest::new(code::spin()).args(&["--cpus", "2", "--rng", "--disk", &disk]).start();
    running.wait_for("running");
    // A thread first takes its name, then enters its filter; it may not have come to that yet.
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let threads = running.threads();
        let named = threads.keys().eq(["disk-vda", "mmtorture-vmm", "rng", "vcpu0", "vcpu1"]);
        if named && threads.values().all(|&confined| confined) {
            break;
        }
        assert!(Instant::now() < deadline, "{threads:?}");
    }
    running.signal(libc::SIGTERM);
    running.end();
}

#[test]
fn a_signal_ends_a_machine_in_order() {
    needs_kvm!();
    let mut running = Guest::new(code::spin()).start();
    running.wait_for("running");
    let asked = Instant::now();
    running.signal(libc::SIGTERM);
    assert_eq!(running.end().ending, Ending::Killed { signal: libc::SIGTERM });
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

#[test]
fn a_wrong_request_is_told_and_nothing_runs() {
    let guest = Guest::new(b"no code");
    for (args, words) in [
        (&["--kernel", "/nonexistent"][..], "cannot read the kernel /nonexistent"),
        (&["--cpus", "17"], "17"),
        (&["--memory", "8"], "16..=65536"),
        (&["--disk", "/nonexistent"], "/nonexistent"),
        (&["--nodes", "2"], "2 NUMA nodes for 1 vCPUs"),
    ] {
        let (status, stderr) = guest.refused(args);
        assert_eq!(status, Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(words), "{args:?}: {stderr}");
    }
}
