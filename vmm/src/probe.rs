//! Does this host's `/dev/kvm` run a guest natively?
//!
//! Opening the device and creating a VM proves nothing: a software KVM (PVM is one) offers the whole API, emulates
//! every instruction of an unmodified guest hundreds of times slower than the CPU would run it, and gives up with
//! KVM_EXIT_INTERNAL_ERROR at instructions that its emulator lacks. QEMU's TCG is far better there. So the probe
//! runs tiny guests: a counted loop, timed against the same loop on the host, and one guest for each instruction
//! that a kernel cannot do without.
//!
//! It never hangs: each guest has a deadline, at which its thread is kicked out of KVM_RUN, and all of them share
//! [`BUDGET`].

mod clock;
mod device;
mod kick;
mod machine;
mod programs;
mod report;

pub use device::DEVICE;
pub use report::{Absence, Check, LoopTime, Measured, Outcome, Report, Stop, StopAt, Verdict, NATIVE_RATIO};

use kvm_ioctls::Kvm;
use machine::{Machine, StepError};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When a probe starts no further guest. With the last one's deadline before it and the time to kick that one out
/// behind it, a probe takes less than 3 s, unless the host is too busy to run it, or one whose KVM is native and
/// whose kernel is slow.
pub const BUDGET: Duration = Duration::from_millis(2300);

/// What making one VM may add to the budget for each guest. Under an emulated SVM guests run as fast as their host, and
/// yet a VM takes 100 ms to make and unmake, most of it waiting for RCU: that says nothing about the KVM.
const MAKING_AT_MOST: Duration = Duration::from_millis(250);

/// How long the timed loop may take, all its rounds together; and the first VM to be made, with KVM's modules cold.
const LOOP_DEADLINE: Duration = Duration::from_millis(900);

/// How long one instruction's guest may take, from its creation on. A native one takes a millisecond, most of it for
/// making and unmaking the VM; a software KVM takes a few.
const CHECK_DEADLINE: Duration = Duration::from_millis(250);

/// Probes [`DEVICE`].
///
/// Makes and unmakes some twenty VMs of 2 MiB, one after the other. Installs a no-op handler for SIGRTMIN in this
/// process and leaves it there.
pub fn probe() -> Report {
    probe_at(Path::new(DEVICE))
}

fn probe_at(path: &Path) -> Report {
    let started = Instant::now();
    let kvm = match device::open(path) {
        Ok(kvm) => Arc::new(kvm),
        Err(absence) => return Report::absent(absence, started.elapsed()),
    };
    // One VM made for nothing, so that a host which cannot make any is told from one that cannot run it.
    let making = Instant::now();
    let made = kick::within(LOOP_DEADLINE, {
        let kvm = Arc::clone(&kvm);
        move |_| Machine::new(&kvm, &programs::LOOP).map(drop)
    });
    let stuck = StepError { step: "making a VM", errno: libc::ETIMEDOUT };
    if let Err(StepError { step, errno }) = made.unwrap_or(Err(stuck)) {
        let absence = Absence::CreateFails { step: step.to_owned(), errno };
        return Report::absent(absence, started.elapsed());
    }
    let making = making.elapsed().min(MAKING_AT_MOST);
    let guests = u32::try_from(programs::ALL.len() + 1).unwrap_or(u32::MAX);
    let looking = Instant::now();
    let mut looks = 0;
    let look = |length| {
        looks += 1;
        let kvm = Arc::clone(&kvm);
        let counted = kick::within(LOOP_DEADLINE, move |stop| clock::guest(&kvm, stop, length));
        counted.unwrap_or(Err(Stop::Stuck))
    };
    let counted = clock::compare(look, clock::native);
    // Only a guest that is native or not far from it is looked at again, and that is not to cost it the instructions.
    let again = if looks > 1 { looking.elapsed() } else { Duration::ZERO };
    let pace = Pace { making, end: started + BUDGET + making * guests + again };
    let checks = programs::ALL.iter().map(|program| {
        let outcome = match program.offered(&kvm) {
            true => tried(&kvm, program, pace),
            false => Outcome::NotOffered,
        };
        Check { instruction: program.instruction.to_owned(), outcome }
    });
    let checks = checks.collect();
    let xsetbv = match programs::XSETBV_HEARD.offered(&kvm) {
        true => tried(&kvm, &programs::XSETBV_HEARD, pace),
        false => Outcome::NotOffered,
    };
    Report::of(Measured { counted, checks, xsetbv }, started.elapsed())
}

/// How much time there is.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// What making a VM and unmaking it takes here.
    making: Duration,
    /// When no further guest is started.
    end: Instant,
}

/// Runs one instruction's guest, once more and longer if it had no end in time: on a busy host that says nothing.
fn tried(kvm: &Arc<Kvm>, program: &'static programs::Program, pace: Pace) -> Outcome {
    let mut outcome = Outcome::NotRun;
    let deadline = CHECK_DEADLINE + 2 * pace.making;
    for deadline in [deadline, 2 * deadline] {
        let left = pace.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let this = check(kvm, program, left.min(deadline));
        let timed_out = this == Outcome::Stopped(Stop::Timeout);
        // One that had less than its time is one that was not run.
        if timed_out && left < deadline {
            break;
        }
        outcome = this;
        if !timed_out {
            break;
        }
    }
    outcome
}

/// Runs one instruction's guest to its answer.
fn check(kvm: &Arc<Kvm>, program: &'static programs::Program, deadline: Duration) -> Outcome {
    let kvm = Arc::clone(kvm);
    let answer = kick::within(deadline, move |stop| Machine::new(&kvm, program)?.run(stop));
    match answer.unwrap_or(Err(Stop::Stuck)) {
        Ok(answer) if answer == program.answer => Outcome::Passed,
        Ok(answer) => Outcome::Stopped(Stop::WrongAnswer { got: answer, expected: program.answer }),
        Err(stop) => Outcome::Stopped(stop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_in_time_with_a_verdict_of_its_measurements() {
        let started = Instant::now();
        let report = probe();
        let took = started.elapsed();
        println!("{}\n{}", report.sentence(), serde_json::to_string_pretty(&report).unwrap());
        // Deadlines bound the guests; a busy host may be late to wake us.
        let guests = u32::try_from(programs::ALL.len() + 1).unwrap();
        let most = BUDGET + MAKING_AT_MOST * guests + 4 * LOOP_DEADLINE + Duration::from_secs(2);
        assert!(took < most, "{took:?}");
        let Some(measured) = &report.measured else {
            println!("skipped: {}", report.sentence());
            assert!(matches!(report.verdict, Verdict::Absent { .. }) && !report.usable_for_torture());
            return;
        };
        assert_eq!(report.verdict, Verdict::of(measured));
        assert_eq!(measured.checks.len(), programs::ALL.len());
        if let Ok(time) = &measured.counted {
            assert!(time.guest_ns > 0.0 && time.native_ns > 0.0);
            // Not even a simple in-order CPU needs 50 ns for two instructions, nor can any run them in 0.01 ns.
            assert!((0.01..50.0).contains(&time.native_ns), "{time:?}");
        }
    }

    #[test]
    fn a_host_without_the_device_is_told_so() {
        let report = probe_at(Path::new("/nonexistent/kvm"));
        assert_eq!(report.verdict, Verdict::Absent { reason: Absence::NoDevice });
        assert_eq!(report.measured, None);
    }

    #[test]
    fn another_device_is_no_kvm() {
        let report = probe_at(Path::new("/dev/null"));
        assert_eq!(report.verdict, Verdict::Absent { reason: Absence::WrongVersion { version: -1 } });
    }

    #[test]
    fn a_guest_that_never_exits_is_kicked_out() {
        let Ok(kvm) = device::open(Path::new(DEVICE)) else {
            println!("skipped: no usable {DEVICE}");
            return;
        };
        let started = Instant::now();
        let outcome = check(&Arc::new(kvm), &programs::ENDLESS, Duration::from_millis(100));
        let took = started.elapsed();
        // Stuck, if the host is so busy that the kicked thread gets no CPU to leave KVM_RUN by.
        assert!(matches!(outcome, Outcome::Stopped(Stop::Timeout | Stop::Stuck)), "{outcome:?}");
        assert!(took >= Duration::from_millis(100) && took < Duration::from_secs(2), "{took:?}");
    }
}
