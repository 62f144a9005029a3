//! What a run is made of: one workload, or a mix of several that take turns.
//!
//! In a mix one or two workloads are on duty at a time, so that each has processors and memory enough to win its races, and
//! after a while others are. Two press on each other; one has all processors for threads that are to meet at the same
//! moment. What goes off duty is killed, whatever it is in the midst of.

use crate::host::Host;
use crate::job::{claim, Ask, Role, Workload, WORKLOADS};
use crate::rng::Rng;
use crate::size::Size;
use mmtorture_protocol::Claim;
use std::time::Duration;

/// The name of a mix on the command line and in matrices; alone, or followed by `:` and its parts.
pub const MIX: &str = "mix";

/// A line about it.
pub const ABOUT: &str = "workloads that take turns, a few at a time: all, or as mix:anon-churn=2,shmem-punch=1 says";

/// How many workloads of a mix are on duty in a turn, and for how many milliseconds; again and again.
const TURNS: [(usize, u64); 4] = [(2, 3000), (1, 1000), (1, 1000), (1, 1000)];

/// The most workloads that are on duty at a time.
const AT_ONCE: usize = 2;

/// What a mix is made of if nobody says, with weights; the others have the weight 1. `anon-churn` is beside what it finds
/// itself the pressure that the others want, and takes most of the processors' time from whomever it is on duty with;
/// `fsx-mm` meets by sequences what the others must meet by chance.
const WEIGHTS: &[(&str, u32)] =
    &[("anon-churn", 3), ("fsx-mm", 6), ("kbuild-lite", 2), ("thp-split-collapse", 2), ("hot-pages", 3), ("idle", 0)];

/// One workload of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its place in [`WORKLOADS`].
    pub workload: usize,
    /// How many turns it has in a tour.
    pub weight: u32,
}

impl Part {
    fn workload(self) -> &'static dyn Workload {
        WORKLOADS[self.workload]
    }
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct What {
    /// Its name.
    pub name: String,
    /// Its parts; one, unless it is a mix.
    pub parts: Vec<Part>,
}

/// How many turns one of [`WORKLOADS`] has in a tour of the general mix; 0 if it is not in there.
pub fn weight(name: &str) -> u32 {
    WEIGHTS.iter().find(|&&(of, _)| of == name).map_or(1, |&(_, weight)| weight)
}

impl What {
    /// Reads a workload's name, or a mix.
    ///
    /// # Errors
    /// `None` if it is the name of nothing; otherwise what is wrong with the mix.
    pub fn parse(name: &str) -> Result<Self, Option<String>> {
        let place = |name: &str| WORKLOADS.iter().position(|workload| workload.name() == name);
        let what = |parts| Ok(Self { name: name.to_owned(), parts });
        if let Some(workload) = place(name) {
            return what(vec![Part { workload, weight: 1 }]);
        }
        if name == MIX {
            let all = WORKLOADS.iter().enumerate();
            let all = all.map(|(workload, w)| Part { workload, weight: weight(w.name()) });
            return what(all.filter(|part| part.weight > 0).collect());
        }
        let Some(list) = name.strip_prefix(MIX).and_then(|rest| rest.strip_prefix(':')) else { return Err(None) };
        let mut parts: Vec<Part> = Vec::new();
        for item in list.split(',') {
            let (of, weight) = item.split_once('=').unwrap_or((item, "1"));
            let weight = weight.parse().ok().filter(|weight| (1..=100).contains(weight));
            let weight =
                weight.ok_or_else(|| format!("{MIX}: '{item}': expected NAME or NAME=WEIGHT, from 1 to 100"))?;
            let workload =
                place(of).ok_or_else(|| format!("{MIX}: there is no workload '{of}' (see `torture list`)"))?;
            if parts.iter().any(|part| part.workload == workload) {
                return Err(Some(format!("{MIX}: '{of}' is given twice")));
            }
            parts.push(Part { workload, weight });
        }
        what(parts)
    }

    /// Makes it ready to run.
    ///
    /// # Errors
    /// What [`Workload::prepare`] says.
    pub fn prepare(&self, ask: &Ask, host: &Host) -> Result<Plan, String> {
        let mixed = self.name.starts_with(MIX);
        let mut plan = Plan {
            name: self.name.clone(),
            ops: Vec::new(),
            says: Vec::new(),
            claims: Vec::new(),
            roles: Vec::new(),
            rota: None,
            strangers: false,
        };
        let at_once = AT_ONCE.min(self.parts.len());
        let mut share = ask.clone();
        if mixed {
            let size = Size::of(ask, host)?;
            share.memory = Some(size.bytes / at_once as u64);
            plan.says = vec![
                size.says(host),
                format!("{} workloads, one or {at_once} at a time, for a few seconds each", self.parts.len()),
            ];
            plan.claims = claims(&size, host);
            plan.rota = Some(Rota::new(&self.parts, ask.seed));
        }
        for (part, of) in self.parts.iter().enumerate() {
            let workload = of.workload();
            let job = workload.prepare(&share, host)?;
            let own = plan.ops.len();
            let name = |op: &&str| if mixed { format!("{}/{op}", workload.name()) } else { (*op).to_owned() };
            plan.ops.extend(workload.ops().iter().map(name));
            plan.roles.extend(job.roles.into_iter().map(|role| Placed { part, own, role }));
            if mixed {
                plan.says.push(format!("{}: {}", workload.name(), job.says.join("; ")));
            } else {
                plan.says = job.says;
                plan.claims = job.claims;
            }
        }
        Ok(plan)
    }
}

/// What any mix is to have done by its end, whoever had the turns.
fn claims(size: &Size, host: &Host) -> Vec<Claim> {
    let mut claims = vec![claim("faults", &["pgfault"], 256)];
    if size.full && host.can_compact {
        claims.push(claim("migration", &["pgmigrate_success"], 16));
    }
    if size.full && size.swap {
        claims.push(claim("swap-out", &["pswpout", "zswpout"], 16));
    }
    claims
}

/// A run that is ready.
pub struct Plan {
    /// Its name.
    pub name: String,
    /// The operations that it counts, after the common ones.
    pub ops: Vec<String>,
    /// What it will do, for people.
    pub says: Vec<String>,
    /// Which counters must move.
    pub claims: Vec<Claim>,
    /// Who does it.
    pub roles: Vec<Placed>,
    /// Who is on duty when; everybody always, if there is none.
    pub rota: Option<Rota>,
    /// Whether processes are left behind whose ends say nothing: those of programs that are not ours.
    pub strangers: bool,
}

/// A role, and where it belongs.
pub struct Placed {
    /// Its part of the mix.
    pub part: usize,
    /// Where its workload's operations begin.
    pub own: usize,
    /// The role.
    pub role: Role,
}

/// The order of duty in a mix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rota {
    /// Parts, each as often as it weighs.
    order: Vec<usize>,
}

impl Rota {
    /// An order drawn from `seed`, in which the turns of each part are spread evenly: a heavy one has its first early.
    fn new(parts: &[Part], seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut order: Vec<(u64, usize)> = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let every = (1 << 40) / u64::from(part.weight);
            order.extend((0..u64::from(part.weight)).map(|nth| (nth * every + rng.next() % every, at)));
        }
        order.sort_unstable();
        Self { order: order.into_iter().map(|(_, at)| at).collect() }
    }

    /// Which turn it is after `elapsed`.
    pub fn turn(&self, elapsed: Duration) -> u32 {
        let round = milliseconds(TURNS.len());
        let elapsed = elapsed.as_millis() as u64;
        let over = (1..TURNS.len()).filter(|&turns| elapsed % round >= milliseconds(turns)).count();
        (elapsed / round) as u32 * TURNS.len() as u32 + over as u32
    }

    /// When the turn after `turn` begins.
    pub fn ends(&self, turn: u32) -> Duration {
        Duration::from_millis(milliseconds(turn as usize + 1))
    }

    /// Whether a part is on duty. A part that is drawn twice for a turn leaves the others that much more room.
    pub fn on_duty(&self, turn: u32, part: usize) -> bool {
        let drawn = |until| sum_until(until, |&(at_once, _)| at_once as u64) as usize;
        let turn = turn as usize;
        (drawn(turn)..drawn(turn + 1)).any(|at| self.order[at % self.order.len()] == part)
    }
}

/// How long the first `turns` turns take.
fn milliseconds(turns: usize) -> u64 {
    sum_until(turns, |&(_, ms)| ms)
}

/// The sum of something of the first `until` turns.
fn sum_until(until: usize, of: impl Fn(&(usize, u64)) -> u64) -> u64 {
    let round: u64 = TURNS.iter().map(&of).sum();
    (until / TURNS.len()) as u64 * round + TURNS[..until % TURNS.len()].iter().map(of).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::host;
    use crate::job::tests::ask;
    use crate::job::Pressure;

    #[test]
    fn a_name_is_one_workload_and_mix_is_all_of_them() {
        assert_eq!(What::parse("anon-churn").unwrap().parts.len(), 1);
        let all = What::parse("mix").unwrap();
        assert_eq!(all.parts.len(), WORKLOADS.len() - WEIGHTS.iter().filter(|w| w.1 == 0).count());
        assert!(WEIGHTS.iter().all(|(name, _)| WORKLOADS.iter().any(|w| w.name() == *name)));
        assert_eq!(What::parse("mixture"), Err(None));
    }

    #[test]
    fn a_mix_says_what_is_in_it() {
        let mix = What::parse("mix:anon-churn=2").unwrap();
        assert_eq!(mix.parts, [Part { workload: 0, weight: 2 }]);
        for (text, needle) in [
            ("mix:", "no workload ''"),
            ("mix:anon-chrun", "no workload 'anon-chrun'"),
            ("mix:anon-churn=0", "from 1 to 100"),
            ("mix:anon-churn=x", "NAME=WEIGHT"),
            ("mix:anon-churn,anon-churn=2", "given twice"),
        ] {
            let error = What::parse(text).unwrap_err().unwrap();
            assert!(error.contains(needle), "{text}: {error}");
        }
    }

    #[test]
    fn everybody_has_a_turn_by_weight_and_a_seed_has_one_order() {
        let parts: Vec<_> = [6, 3, 4, 2].iter().map(|&weight| Part { workload: 0, weight }).collect();
        let rota = Rota::new(&parts, 5);
        // Fifteen drawings are three rounds of five; who is drawn twice for one turn has one turn of them.
        let turns = |part| (0..12).filter(|&turn| rota.on_duty(turn, part)).count();
        assert!((4..=6).contains(&turns(0)) && (2..=3).contains(&turns(1)) && (1..=2).contains(&turns(3)));
        for turn in 0..12 {
            let on_duty = (0..4).filter(|&part| rota.on_duty(turn, part)).count();
            assert!((1..=TURNS[turn as usize % TURNS.len()].0).contains(&on_duty));
        }
        assert_eq!(rota, Rota::new(&parts, 5));
        let first = |seed| (0..12).find(|&turn| Rota::new(&parts, seed).on_duty(turn, 0));
        assert!((0..50).all(|seed| first(seed) < Some(5)), "six of fifteen are spread over all turns");
    }

    #[test]
    fn a_turn_begins_when_the_one_before_it_ends() {
        let rota = Rota::new(&[Part { workload: 0, weight: 1 }], 5);
        assert_eq!([0, 1, 2, 3, 4].map(|turn| rota.ends(turn).as_secs()), [3, 4, 5, 6, 9]);
        for turn in 0..20 {
            assert_eq!(rota.turn(rota.ends(turn)), turn + 1);
            assert_eq!(rota.turn(rota.ends(turn) - Duration::from_millis(1)), turn);
            assert!(rota.on_duty(turn, 0));
        }
    }

    #[test]
    fn the_parts_of_a_mix_share_the_memory_and_not_the_counters() {
        let plan = What::parse("mix").unwrap().prepare(&ask(Pressure::Full, None), &host(280, 1024)).unwrap();
        let own: std::collections::BTreeSet<_> = plan.ops.iter().collect();
        assert_eq!(own.len(), plan.ops.len());
        assert!(own.contains(&"anon-churn/gangs".to_owned()), "{own:?}");
        assert!(plan.claims.iter().any(|claim| claim.shows == "swap-out"));
    }
}
