//! Times the counted loop, in a guest and on the host.

use super::machine::Machine;
use super::programs;
use super::report::{LoopTime, Stop, NATIVE_RATIO};
use kvm_ioctls::Kvm;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// A round of the first look should take this long: so long that entering and leaving the guest (some microseconds)
/// does not show, so short that on a busy host some rounds pass within one slice of the scheduler (milliseconds).
const ROUND: Duration = Duration::from_micros(600);

/// Looks at most. Each takes rounds twice as long as the one before it: where a guest is entered and left slowly, as in
/// a guest of an emulated SVM, the longer ones tell.
const LOOKS: u32 = 4;

/// From here on no second look is taken: no busy host makes the best of a look's rounds so slow.
const HOPELESS: f64 = 30.0;

/// Rounds timed at full length. The best of them counts: what disturbs a round only makes it longer.
const ROUNDS: usize = 50;

/// No new round is begun after this: a software KVM may need it for a single one.
const ENOUGH: Duration = Duration::from_millis(150);

/// Turns of the first round: short enough for a KVM that needs 10 us per instruction.
const FIRST: u32 = 4096;

/// Turns of the longest round.
const MOST: u32 = 1 << 28;

/// The best time of a turn in a guest and on the host, from as many looks as it takes to call the guest native.
///
/// `look` yields what one look at the guest came to, with rounds of a length that it is given. `native`, the same of the
/// host, is asked right after it, so that what slows the machine down for a while slows both.
pub(super) fn compare(
    mut look: impl FnMut(Duration) -> Result<f64, Stop>,
    native: impl Fn() -> f64,
) -> Result<LoopTime, Stop> {
    let mut best = LoopTime { guest_ns: look(ROUND)?, native_ns: native() };
    for doubled in 1..LOOKS {
        if !(NATIVE_RATIO..HOPELESS).contains(&best.ratio()) {
            break;
        }
        // What the first look saw stands, should this one fail.
        let Ok(guest_ns) = look(ROUND * 2u32.pow(doubled)) else { break };
        best = LoopTime { guest_ns: best.guest_ns.min(guest_ns), native_ns: best.native_ns.min(native()) };
    }
    Ok(best)
}

/// Nanoseconds for one turn in a guest, from rounds of a length.
pub(super) fn guest(kvm: &Kvm, stop: &AtomicBool, length: Duration) -> Result<f64, Stop> {
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
        if took < length / 2 && turns < MOST {
            let factor = (length.as_nanos() / took.as_nanos().max(1)).clamp(2, 16) as u32;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks that come to so many times the host's time, and how many were taken.
    fn looks(ratios: &[f64]) -> (Result<LoopTime, Stop>, usize) {
        let mut taken = 0;
        let look = |length| {
            assert_eq!(length, ROUND * 2u32.pow(taken as u32));
            taken += 1;
            ratios.get(taken - 1).copied().ok_or(Stop::Timeout)
        };
        let compared = compare(look, || 1.0);
        (compared, taken)
    }

    #[test]
    fn one_look_is_enough_for_a_native_and_for_an_emulated_guest() {
        assert_eq!(looks(&[0.5]).1, 1);
        assert_eq!(looks(&[4000.0]).1, 1);
    }

    #[test]
    fn what_a_busy_host_made_slow_is_looked_at_again() {
        let (compared, taken) = looks(&[9.0, 8.0, 0.5]);
        assert!(compared.unwrap().ratio() < NATIVE_RATIO && taken == 3, "{taken}");
        let (compared, taken) = looks(&[9.0, 8.0, 10.0, 11.0, 0.5]);
        assert!(compared.unwrap().ratio() > NATIVE_RATIO && taken == 4, "{taken}");
    }

    #[test]
    fn the_first_look_stands_where_the_second_fails() {
        assert!(matches!(looks(&[9.0]), (Ok(_), 2)));
        assert!(matches!(looks(&[]), (Err(Stop::Timeout), 1)));
    }
}
