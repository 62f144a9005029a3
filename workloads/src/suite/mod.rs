//! Suites: what others wrote, run as a workload is: until the deadline, with counts, claims and violations.
//!
//! Each is a file here. They run in a root file system, `--root`, which PID 1 of a guest has mounted from a disk.

mod kbuild;
mod kselftest;
mod program;
mod root;
mod stress_ng;

use crate::host::Host;
use crate::job::{Ask, Role};
use crate::mix::{Placed, Plan};
use mmtorture_protocol::{Claim, Suite};

/// A suite that is ready to run, as [`crate::job::Job`] is of a workload.
struct Job {
    says: Vec<String>,
    ops: Vec<String>,
    claims: Vec<Claim>,
    roles: Vec<Role>,
}

/// Makes `suite`, which was asked for by `name`, ready to run.
///
/// # Errors
/// One line that says what it lacks.
pub fn prepare(name: &str, suite: &Suite, ask: &Ask, host: &Host) -> Result<Plan, String> {
    let root = root::Root::enter(ask)?;
    let job = match suite {
        Suite::StressNg { class, seconds } => stress_ng::prepare(root, class, *seconds)?,
        Suite::Kbuild { objects } => kbuild::prepare(root, *objects as usize, ask, host)?,
        Suite::Kselftest { tests, but } => kselftest::prepare(root, tests, but)?,
    };
    Ok(Plan {
        name: name.to_owned(),
        ops: job.ops,
        says: job.says,
        claims: job.claims,
        roles: job.roles.into_iter().map(|role| Placed { part: 0, own: 0, role }).collect(),
        rota: None,
        strangers: true,
    })
}
