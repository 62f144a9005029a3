//! What a workload is to the rest of the program: an entry in a table, which turns a request into a [`Job`].

use crate::host::Host;
use crate::life::Life;
use crate::scratch::Scratch;
use mmtorture_protocol::Claim;
use std::path::PathBuf;

/// How hard a workload may press the machine it runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Pressure {
    /// A small part of memory: someone else lives here.
    Polite,
    /// All of memory and part of swap: a machine that exists to be tortured.
    Full,
}

/// What the user asks of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// The working set in bytes, if the user says.
    pub memory: Option<u64>,
    /// How to size what the user does not say.
    pub pressure: Pressure,
    /// Where files go.
    pub scratch: Scratch,
    /// The root file system that a suite runs in.
    pub root: Option<PathBuf>,
}

impl Ask {
    /// Whether the machine exists to be tortured.
    pub fn full(&self) -> bool {
        self.pressure == Pressure::Full
    }
}

/// A kind of process. The supervisor keeps `count` of it running until the deadline.
pub struct Role {
    /// For messages.
    pub name: &'static str,
    /// How many at a time.
    pub count: u32,
    /// One life. When it returns the process exits, with everything mapped that it leaked.
    pub live: Box<dyn Fn(&mut Life<'_>)>,
}

impl Role {
    /// `count` processes that live `live`.
    pub fn new(name: &'static str, count: u32, live: impl Fn(&mut Life<'_>) + 'static) -> Self {
        Self { name, count, live: Box::new(live) }
    }
}

/// A workload that is ready to run.
pub struct Job {
    /// What it will do, for people: a few lines.
    pub says: Vec<String>,
    /// Which counters must move.
    pub claims: Vec<Claim>,
    /// Who does it.
    pub roles: Vec<Role>,
}

/// A workload.
pub trait Workload: Sync {
    /// Its name on the command line and in matrices.
    fn name(&self) -> &'static str;
    /// One line on what it tortures.
    fn about(&self) -> &'static str;
    /// The operations that it counts.
    fn ops(&self) -> &'static [&'static str];
    /// Sizes it for `host`.
    ///
    /// # Errors
    /// One line that says what is wrong with the request and what would do. What the machine lacks is no error: without
    /// it the claims do not hold.
    fn prepare(&self, ask: &Ask, host: &Host) -> Result<Job, String>;
}

/// Every workload, in the order of `torture list`. A new one is a module and a line here.
pub const WORKLOADS: &[&dyn Workload] = &[
    &crate::anon_churn::AnonChurn,
    &crate::kbuild_lite::KbuildLite,
    &crate::shared_dirty_zap::SharedDirtyZap,
    &crate::exit_storm::ExitStorm,
    &crate::anon_exit::AnonExit,
    &crate::thp_split_collapse::ThpSplitCollapse,
    &crate::shmem_punch::ShmemPunch,
    &crate::migrate_storm::MigrateStorm,
    &crate::swap_thrash::SwapThrash,
    &crate::memcg_move::MemcgMove,
    &crate::mremap_collapse::MremapCollapse,
    &crate::ksm_merge_fork::KsmMergeFork,
    &crate::uffd_mix::UffdMix,
    &crate::oom_reap::OomReap,
    &crate::gup_pin::GupPin,
    &crate::file_thp::FileThp,
    &crate::rmap_walk::RmapWalk,
    &crate::hot_pages::HotPages,
    &crate::fsx::FsxMm,
    &crate::idle::Idle,
];

/// Shorthand for a claim.
pub fn claim(shows: &str, any_of: &[&str], at_least: u64) -> Claim {
    Claim { shows: shows.to_owned(), any_of: any_of.iter().map(|&name| name.to_owned()).collect(), at_least }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::host::tests::host;

    /// A request with files in memfds.
    pub fn ask(pressure: Pressure, memory: Option<u64>) -> Ask {
        Ask { seed: 1, memory, pressure, scratch: Scratch::default(), root: None }
    }

    #[test]
    fn every_workload_fits_into_64_mib_and_claims_something_of_a_guest() {
        for workload in WORKLOADS {
            let small = workload.prepare(&ask(Pressure::Polite, Some(64 << 20)), &host(8000, 0));
            assert!(!small.unwrap().roles.is_empty(), "{}", workload.name());
            let job = workload.prepare(&ask(Pressure::Full, None), &host(280, 1024)).unwrap();
            assert!(!job.claims.is_empty(), "{}", workload.name());
            let own = job.claims.iter().flat_map(|claim| &claim.any_of).filter(|name| name.contains('-'));
            assert!(own.into_iter().all(|name| workload.ops().contains(&name.as_str())), "{}", workload.name());
        }
    }

    #[test]
    fn names_are_unique_and_fit_a_command_line() {
        let names: std::collections::BTreeSet<_> = WORKLOADS.iter().map(|workload| workload.name()).collect();
        assert_eq!(names.len(), WORKLOADS.len());
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
        assert!(!names.contains("list") && !names.contains(crate::mix::MIX));
    }
}
