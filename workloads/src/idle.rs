//! `idle`: boots, and does next to nothing: for what breaks by itself.

use crate::board::ops;
use crate::host::Host;
use crate::job::{claim, Ask, Job, Role, Workload};
use std::time::Duration;

/// The table's entry.
pub struct Idle;

ops!(OPS: LOOK = "idle-looks");

impl Workload for Idle {
    fn name(&self) -> &'static str {
        "idle"
    }

    fn about(&self) -> &'static str {
        "next to nothing: for what breaks by itself"
    }

    fn ops(&self) -> &'static [&'static str] {
        OPS
    }

    fn prepare(&self, ask: &Ask, _: &Host) -> Result<Job, String> {
        let seed = ask.seed;
        let look = Role::new("idle", 1, move |life| {
            let Some(mut region) = life.map(16, 1, seed) else { return };
            life.fill(&mut region, 0..16);
            std::thread::sleep(Duration::from_millis(250));
            life.verify(&region, 0..16);
            life.did(LOOK);
        });
        Ok(Job {
            says: vec!["one process that sleeps, and looks at 16 pages now and then".to_owned()],
            // Somebody must have been there to see that nothing broke.
            claims: vec![claim("awake", &["idle-looks"], 1)],
            roles: vec![look],
        })
    }
}
