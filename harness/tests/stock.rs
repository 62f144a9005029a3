//! A distribution's kernel, tortured without a build: Debian's, which the testbed fetches.

mod common;

use common::{alone, Bench};
use mmtorture_testbed::{Error, Kernel};

#[test]
fn a_stock_kernel_is_booted_and_tortured_without_a_build() {
    let kernel = match Kernel::find() {
        Ok(kernel) => kernel,
        Err(Error::Missing(why) | Error::Failed(why)) => {
            println!("skipped: {why}");
            return;
        }
    };
    let _alone = alone();
    let bench = Bench::new();
    let lines = format!(
        "kernel: {{source: 'image:{}', modules: '{}'}}\nvariants: [base]\nseconds: 20\nboot-seconds: 300\n\
         dimensions: {{thp: always, cpus: 2, memory: 512M, swap: 'zram:1G'}}",
        kernel.image().display(),
        kernel.modules().display()
    );
    let said = bench.run(&["run", &bench.matrix(&lines).display().to_string()]).expect(0, &[]);
    println!("{}", said.stdout);
    let run = bench.run(&["show", "latest", "--format", "json"]).expect(0, &[]).json();
    let trial = &run["trials"][0];
    assert_eq!(trial["outcome"], "pass", "{trial}");
    let build = trial["hello"]["build"].as_str().unwrap();
    assert!(build.contains("Debian"), "{build}");
    assert!(trial["done"]["vmstat"]["pswpout"].as_u64().unwrap() > 0, "it swaps on zram, which is a module: {trial}");
}
