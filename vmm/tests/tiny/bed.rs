//! The same tests on a KVM that runs guests on the processor's own terms: in the testbed.

use mmtorture_testbed::{Job, Options, Testbed};
use std::time::Duration;

/// Set in the bed, where there is no further one.
const INSIDE: &str = "MMTORTURE_IN_THE_BED";

#[test]
fn all_of_it_in_the_testbed() {
    if std::env::var_os(INSIDE).is_some() {
        return;
    }
    let Some(bed) = Testbed::shared(&Options { memory_mib: 1024, ..Options::default() }) else { return };
    let me = std::env::current_exe().unwrap();
    // This binary is static, and the bed sees it where it is here.
    let job = Job::new([me.to_str().unwrap(), "--test-threads=1", "--nocapture"]);
    let output = bed.run(&job.env(INSIDE, "1").limit(Duration::from_secs(300))).unwrap();
    assert!(output.status.success(), "{}{}", output.stdout(), output.stderr());
    assert!(!output.stdout().contains("skipped:"), "{}", output.stdout());
}
