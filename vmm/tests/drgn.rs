//! A kernel panics in QEMU; its memory and registers go through [`mmtorture_vmm::dump`] to drgn, which must see the
//! tasks and walk the stacks. The same core from QEMU's own dump proves the writer apart from our machine.

use mmtorture_vmm::dump;
use serde_json::{json, Value};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// QEMU without KVM on a busy host.
const BOOT: Duration = Duration::from_secs(120);

/// The project's cache folder.
fn cache() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    Some(absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?.join("mmtorture"))
}

/// The folder of a kernel that was built with the fragment `dump`.
fn kernel(cache: &Path) -> Option<PathBuf> {
    let kernels = fs::read_dir(cache.join("kernels")).ok()?.flatten().map(|entry| entry.path());
    kernels.into_iter().find(|folder| {
        let config = fs::read_to_string(folder.join("config")).unwrap_or_default();
        ["CONFIG_PROC_KCORE=y", "CONFIG_DEBUG_INFO_DWARF5=y"].iter().all(|option| config.contains(option))
    })
}

/// QEMU, ended when this is dropped.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until `ready` answers.
fn wait<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ready() {
            return answer;
        }
        assert!(start.elapsed() < BOOT, "waited for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// QEMU's monitor.
struct Qmp {
    write: UnixStream,
    read: BufReader<UnixStream>,
}

impl Qmp {
    fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(BOOT)).unwrap();
        let mut qmp = Self { read: BufReader::new(stream.try_clone().unwrap()), write: stream };
        qmp.execute("qmp_capabilities", &json!({}));
        qmp
    }

    /// Events come in between.
    fn execute(&mut self, command: &str, arguments: &Value) {
        writeln!(self.write, "{}", json!({"execute": command, "arguments": arguments})).unwrap();
        loop {
            let mut line = String::new();
            self.read.read_line(&mut line).unwrap();
            let answer: Value = serde_json::from_str(&line).unwrap();
            assert!(answer.get("error").is_none(), "{answer}");
            if answer.get("return").is_some() {
                return;
            }
        }
    }
}

/// Boots `kernel` without an initramfs, so that it panics, and has QEMU dump it to `dump`.
fn dump_of_a_panic(kernel: &Path, folder: &Path, dump: &Path) {
    let (console, monitor) = (folder.join("console"), folder.join("qmp"));
    let mut qemu = Command::new("qemu-system-x86_64");
    // The firmware's MP table, by which a kernel without ACPI finds its CPUs, has one for each socket.
    qemu.args([
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-machine",
        "q35",
        "-smp",
        "2,sockets=2,cores=1,threads=1",
        "-m",
        "256M",
    ]);
    qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-append", "console=ttyS0 lpj=10000000 panic=0"]);
    qemu.arg("-kernel").arg(kernel.join("bzImage"));
    qemu.arg("-serial").arg(format!("file:{}", console.display()));
    qemu.arg("-qmp").arg(format!("unix:{},server=on,wait=off", monitor.display()));
    let _guest = Guest(qemu.stdin(Stdio::null()).spawn().unwrap());
    wait("the panic's last line", || {
        let text = fs::read(&console).ok()?;
        String::from_utf8_lossy(&text).contains("end Kernel panic").then_some(())
    });
    let mut qmp = Qmp::new(UnixStream::connect(&monitor).unwrap());
    qmp.execute("stop", &json!({}));
    qmp.execute("dump-guest-memory", &json!({"paging": false, "protocol": format!("file:{}", dump.display())}));
}

#[test]
fn drgn_reads_a_core() {
    let cache = cache().expect("HOME");
    let python = cache.join("drgn/bin/python");
    if !python.exists() {
        println!("skipped: drgn is missing, `make drgn` installs it");
        return;
    }
    let Some(kernel) = kernel(&cache) else {
        println!("skipped: a kernel to dump is missing, `mmtorture build matrices/dump.yaml` builds it");
        return;
    };
    if Command::new("qemu-system-x86_64").arg("--version").output().is_err() {
        println!("skipped: qemu-system-x86_64 is missing");
        return;
    }

    let folder = tempfile::tempdir().unwrap();
    let (qemus, ours) = (folder.path().join("qemu.core"), folder.path().join("core"));
    dump_of_a_panic(&kernel, folder.path(), &qemus);
    let (memory, cpus) = dump::qemu::read(&mut File::open(&qemus).unwrap()).unwrap();
    let dumped =
        dump::write(&mut File::create(&ours).unwrap(), &memory, &cpus, dump::Pagemap::open().as_ref()).unwrap();
    println!("QEMU: {} bytes; ours: {dumped:?}", fs::metadata(&qemus).unwrap().len());
    assert_eq!(cpus.len(), 2);
    assert!(dumped.vmcoreinfo && dumped.written < dumped.bytes / 2, "{dumped:?}");

    // The notes on the vCPUs' states are QEMU's own, byte for byte, but for the segments: with TCG, their attributes are
    // the whole second word of the descriptor, in which there is also some of base and limit.
    let heads = [&qemus, &ours].map(|path| {
        let mut head = vec![];
        File::open(path).unwrap().take(4096).read_to_end(&mut head).unwrap();
        head
    });
    let states: Vec<_> = heads[0].windows(8).enumerate().filter(|(_, name)| name == b"QEMU\0\0\0\0").collect();
    assert_eq!(states.len(), 2);
    for (at, _) in states {
        let mut state = heads[0][at + 8..at + 8 + 440].to_vec();
        for segment in (152..392).step_by(24) {
            (state[segment + 8], state[segment + 11]) = (0, 0);
            state[segment + 10] &= 0xf0;
        }
        assert!(heads[1].windows(440).any(|window| window == state), "{state:x?}");
    }

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/core.py");
    let output = Command::new(python).arg(script).arg(&ours).arg(kernel.join("vmlinux")).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    println!("{seen:#}");

    let names =
        |value: &Value| value.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let tasks = seen["tasks"].as_array().unwrap();
    assert!(tasks.iter().any(|task| task["pid"] == 1) && tasks.iter().any(|task| task["comm"] == "kthreadd"));
    // The task that panicked is init, before it had anything to execute.
    assert!(names(&seen["crashed"]["stack"]).contains(&"mount_block_root".to_owned()), "{}", seen["crashed"]);
    assert!(names(&seen["sleeper"]["stack"]).contains(&"schedule".to_owned()), "{}", seen["sleeper"]);
    // A running task's registers are its vCPU's: without them there would be no stack, or an old one.
    let running = seen["cpus"].as_array().unwrap();
    assert_eq!(running.len(), 2);
    for function in ["panic", "stop_this_cpu"] {
        assert!(running.iter().any(|cpu| names(&cpu["stack"]).contains(&function.to_owned())), "{}", seen["cpus"]);
    }
}
