//! Times the counted loop, in a guest and on the host.

use super::machine::Machine;
use super::programs;
use super::report::Stop;
use kvm_ioctls::Kvm;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// A round should take this long: so long that entering and leaving the guest (some microseconds) does not show, so
/// short that on a busy host some rounds pass within one slice of the scheduler (milliseconds).
const ROUND: Duration = Duration::from_micros(600);

/// Rounds timed at full length. The best of them counts: what disturbs a round only makes it longer.
const ROUNDS: usize = 50;

/// No new round is begun after this: a software KVM may need it for a single one.
const ENOUGH: Duration = Duration::from_millis(150);

/// Turns of the first round: short enough for a KVM that needs 10 us per instruction.
const FIRST: u32 = 4096;

/// Turns of the longest round.
const MOST: u32 = 1 << 28;

/// Nanoseconds for one turn in a guest.
pub(super) fn guest(kvm: &Kvm, stop: &AtomicBool) -> Result<f64, Stop> {
    let mut machine = Machine::new(kvm, &programs::LOOP)?;
    let started = Instant::now();
    let mut turns = FIRST;
    let mut best = f64::INFINITY;
    let mut full = 0;
    while full < ROUNDS && (best.is_infinite() || started.elapsed() < ENOUGH) {
        machine.write(programs::DATA, u64::from(turns))?;
        let round = Instant::now();
        let answer = machine.run(stop)?;
        let took = round.elapsed();
        if answer != programs::LOOP.answer {
            return Err(Stop::WrongAnswer { got: answer, expected: programs::LOOP.answer });
        }
        // Entry and exit make a short round look slower, never faster, so that it cannot win over a long one.
        best = best.min(took.as_nanos() as f64 / f64::from(turns));
        if took < ROUND / 2 && turns < MOST {
            let factor = (ROUND.as_nanos() / took.as_nanos().max(1)).clamp(2, 16) as u32;
            turns = turns.saturating_mul(factor).min(MOST);
        } else {
            full += 1;
        }
    }
    Ok(best)
}

/// Nanoseconds for one turn on the host.
pub(super) fn native() -> f64 {
    /// As long as [`ROUND`], more or less.
    const TURNS: u32 = 1 << 20;
    let round = |_: usize| {
        let started = Instant::now();
        // Aligned as the guest's: a jump across a 32-byte boundary is slower on some CPUs.
        // SAFETY: the guest's loop, instruction by instruction: counts a register down, touches nothing else.
        unsafe {
            std::arch::asm!(
                ".p2align 4", "2:", "dec {turns:e}", "jnz 2b",
                turns = inout(reg) TURNS => _,
                options(nomem, nostack),
            );
        }
        started.elapsed().as_nanos() as f64 / f64::from(TURNS)
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}
