//! QEMU, with KVM or with its own translator (TCG).

use super::choose::Accel;
use super::ending::Ending;
use super::monitor::{Monitor, Said};
use super::qmp::Qmp;
use super::{Machine, Ports, Spec};
use crate::error::Result;
use crate::process;
use mmtorture_bootkit::tsc;
use mmtorture_vmm::ending::Registers;
use std::path::Path;
use std::process::{ChildStdout, Command};
use std::time::Duration;

/// The program.
pub const PROGRAM: &str = "qemu-system-x86_64";

/// QEMU's version.
///
/// # Errors
/// It is not installed.
pub fn installed() -> Result<String> {
    let mut command = Command::new(PROGRAM);
    command.arg("--version");
    process::output(command)
}

/// Where fw_cfg is on a PC, for kernels that ACPI does not tell: size, base, and the offsets of control, data and DMA.
const FW_CFG: &str = "qemu_fw_cfg.ioport=12@0x510:0:1:4";

/// QEMU.
#[derive(Debug, Clone)]
pub struct Qemu {
    accel: Accel,
    /// What this accelerator's guests must be told on the command line.
    hints: String,
}

impl Qemu {
    /// QEMU with `accel`.
    pub fn new(accel: Accel) -> Self {
        let hints = match accel {
            // lpj: a delay loop calibrated under translation is as good as a guess, and takes longer.
            Accel::Tcg => format!("tsc=reliable tsc_early_khz={} lpj=10000000", tsc::khz()),
            Accel::Kvm => String::new(),
        };
        Self { accel, hints }
    }
}

impl Machine for Qemu {
    fn command(&self, spec: &Spec, ports: &Ports<'_>) -> Command {
        let mut qemu = Command::new(PROGRAM);
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-vga", "none"]);
        // A reset ends the run: a triple fault, a panic with panic=-1, and the restart by which a guest without ACPI
        // ends, show as QEMU's exit.
        qemu.arg("-no-reboot");
        qemu.args(["-qmp", &format!("unix:{},server=on,wait=off", escaped(ports.control))]);
        // pvpanic tells that the kernel panics before it has said why: it is to have its say.
        qemu.args(["-device", "pvpanic", "-action", "panic=none"]);
        // Where the kernel writes down what its dumps need to be read.
        qemu.args(["-device", "vmcoreinfo"]);
        // q35 rather than microvm, which hung in delay calibration under TCG.
        qemu.args(["-machine", "q35"]);
        match self.accel {
            // Two host threads for two virtual CPUs: races are real ones.
            // With cpu_reset a triple fault is in the log, which is all that tells it from other resets. Without ERMS the kernel
            // clears and copies pages by words, not by bytes (arch/x86/lib/clear_page_64.S), each of which is a step of TCG's.
            Accel::Tcg => qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max,-erms", "-d", "cpu_reset"]),
            Accel::Kvm => qemu.args(["-accel", "kvm", "-cpu", "host"]),
        };
        // A package each: the firmware's MP table, by which a kernel without ACPI finds its CPUs, has one CPU of each
        // package (SeaBIOS, src/fw/mptable.c).
        qemu.args(["-smp", &format!("{0},sockets={0},cores=1,threads=1", spec.cpus)]);
        qemu.args(["-m", &format!("{}M", spec.memory_mib)]);
        qemu.arg("-kernel").arg(&spec.kernel).arg("-initrd").arg(&spec.initramfs);
        let fw_cfg = if spec.dump { FW_CFG } else { "" };
        let cmdline: Vec<_> =
            [&spec.cmdline, self.hints.as_str(), fw_cfg].into_iter().filter(|s| !s.is_empty()).collect();
        qemu.args(["-append", &cmdline.join(" ")]);
        for (id, path) in [("console", ports.console), ("events", ports.events)] {
            qemu.args(["-chardev", &format!("file,id={id},path={}", escaped(path))]);
            qemu.args(["-serial", &format!("chardev:{id}")]);
        }
        for (n, disk) in spec.disks.iter().enumerate() {
            let read_only = if disk.read_only { ",readonly=on" } else { "" };
            let file = escaped(&disk.path);
            qemu.args(["-drive", &format!("if=none,id=disk{n},format=raw,file={file}{read_only}")]);
            qemu.args(["-device", &format!("virtio-blk-pci,drive=disk{n}")]);
        }
        if spec.nodes > 1 {
            for node in 0..spec.nodes {
                let (memory, cpus) = share(spec, node);
                qemu.args(["-object", &format!("memory-backend-ram,id=node{node},size={memory}M")]);
                qemu.args(["-numa", &format!("node,nodeid={node},memdev=node{node}{cpus}")]);
            }
        }
        qemu
    }

    fn monitor(&self, stdout: ChildStdout, control: &Path) -> Result<Box<dyn Monitor>> {
        Ok(Box::new(Controlled { qmp: Qmp::connect(control.to_owned())?, _stdout: stdout }))
    }

    fn refine(&self, ending: Ending, log: &str) -> Ending {
        match ending {
            Ending::Reset { by: None } if log.lines().any(|line| line == "Triple fault") => {
                Ending::TripleFault { vcpu: None, registers: None }
            }
            Ending::InternalError { .. } => internal_error(log),
            other => other,
        }
    }

    fn complaint(&self, log: &str) -> String {
        // What is not of its own is what -d asked for.
        let own: Vec<_> = log.lines().filter(|line| line.starts_with(PROGRAM)).collect();
        if own.is_empty() {
            log.lines().last().unwrap_or_default().to_owned()
        } else {
            own.join("; ")
        }
    }

    fn describe(&self) -> String {
        format!("QEMU with {}", self.accel.name())
    }

    fn overhead_mib(&self) -> u64 {
        match self.accel {
            // The translation buffer grows to an eighth of the guest's memory or more; QEMU itself is some 60 MiB.
            Accel::Tcg => 256,
            Accel::Kvm => 96,
        }
    }

    fn slowness(&self) -> u32 {
        match self.accel {
            Accel::Tcg => 10,
            Accel::Kvm => 1,
        }
    }
}

/// A running QEMU.
struct Controlled {
    qmp: Qmp,
    /// Nobody reads it, but whoever writes to a pipe without a reader is killed.
    _stdout: ChildStdout,
}

impl Monitor for Controlled {
    fn pause(&mut self) -> Result<()> {
        self.qmp.pause()
    }

    fn resume(&mut self) -> Result<()> {
        self.qmp.resume()
    }

    fn nmi(&mut self) -> Result<()> {
        self.qmp.nmi()
    }

    fn dump(&mut self, path: &Path, patience: Duration) -> Result<()> {
        self.qmp.dump(path, patience)
    }

    fn status(&mut self) -> Result<String> {
        self.qmp.status()
    }

    fn quit(&mut self) -> Result<()> {
        self.qmp.quit()
    }

    fn said(&mut self) -> Said {
        self.qmp.said()
    }

    fn last_words(&mut self) -> Said {
        self.qmp.last_words()
    }
}

/// A path in one of QEMU's option lists: a comma is written twice.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// A node's memory in MiB, and its CPUs as an option; the last node has what the division left.
fn share(spec: &Spec, node: u32) -> (u64, String) {
    let nodes = spec.nodes;
    let last = node + 1 == nodes;
    let memory = spec.memory_mib / u64::from(nodes);
    let memory = if last { spec.memory_mib - memory * u64::from(nodes - 1) } else { memory };
    let (first, end) = (node * spec.cpus / nodes, (node + 1) * spec.cpus / nodes);
    let cpus = if first < end { format!(",cpus={first}-{}", end - 1) } else { String::new() };
    (memory, cpus)
}

/// What QEMU prints of a vCPU that KVM gave up on (`kvm_handle_internal_error()`, `x86_cpu_dump_state()`).
fn internal_error(log: &str) -> Ending {
    let after = |name: &str| log.rsplit_once(name).map(|(_, rest)| rest.trim_start());
    let suberror = after("KVM internal error. Suberror:").and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    // Code=8b 04 <48> 0f c7: the instruction pointer stands at the byte in brackets.
    let code = after("Code=").and_then(|rest| rest.lines().next()).unwrap_or_default();
    let from_ip = code.split_once('<').map(|(_, rest)| rest.replace(['>', ' '], ""));
    let register = |names: [&str; 2]| {
        let value = names.iter().find_map(|name| after(&format!("{name}=")))?;
        let digits = value.split(|c: char| !c.is_ascii_hexdigit()).next()?;
        u64::from_str_radix(digits, 16).ok()
    };
    // 32-bit names in 32-bit modes.
    let registers = || {
        Some(Registers {
            rip: register(["RIP", "EIP"])?,
            rsp: register(["RSP", "ESP"])?,
            rflags: register(["RFL", "EFL"])?,
            cr0: register(["CR0", "CR0"])?,
            cr2: register(["CR2", "CR2"])?,
            cr3: register(["CR3", "CR3"])?,
            cr4: register(["CR4", "CR4"])?,
            efer: register(["EFER", "EFER"])?,
            rax: register(["RAX", "EAX"])?,
            rbx: register(["RBX", "EBX"])?,
            rcx: register(["RCX", "ECX"])?,
            rdx: register(["RDX", "EDX"])?,
            rsi: register(["RSI", "ESI"])?,
            rdi: register(["RDI", "EDI"])?,
            rbp: register(["RBP", "EBP"])?,
        })
    };
    Ending::InternalError { suberror, instruction: from_ip.unwrap_or_default(), registers: registers() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{tests::spec, Disk};

    fn argv(accel: Accel, spec: &Spec) -> String {
        let ports = Ports {
            console: Path::new("/dev/fd/5"),
            events: Path::new("/dev/fd/6"),
            control: Path::new("/tmp/mmt-x/control"),
        };
        let command = Qemu { accel, hints: String::new() }.command(spec, &ports);
        command.get_args().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_command_line_has_a_way_to_talk_and_a_way_to_end() {
        let text = argv(Accel::Tcg, &spec());
        for part in [
            "-no-reboot",
            "-qmp unix:/tmp/mmt-x/control,server=on,wait=off",
            "-device pvpanic -action panic=none",
            "-accel tcg,thread=multi -cpu max,-erms -d cpu_reset",
            "-smp 2,sockets=2,cores=1,threads=1 -m 320M -kernel /k/bzImage -initrd /k/initramfs.cpio -append console=ttyS0 panic=-1",
            "-chardev file,id=console,path=/dev/fd/5 -serial chardev:console",
        ] {
            assert!(text.contains(part), "no '{part}' in {text}");
        }
        assert!(!text.contains("fw_cfg") && !text.contains("-numa") && !text.contains("-drive"), "{text}");
        assert!(argv(Accel::Kvm, &Spec { dump: true, ..spec() }).contains("panic=-1 qemu_fw_cfg.ioport=12@0x510:0:1:4"));
    }

    #[test]
    fn disks_and_nodes_are_asked_for() {
        let disks = vec![Disk { path: "a,b.img".into(), read_only: true }];
        let text = argv(Accel::Kvm, &Spec { disks, nodes: 2, cpus: 3, memory_mib: 321, ..spec() });
        assert!(text.contains("-drive if=none,id=disk0,format=raw,file=a,,b.img,readonly=on"), "{text}");
        assert!(text.contains("-device virtio-blk-pci,drive=disk0"), "{text}");
        assert!(
            text.contains("memory-backend-ram,id=node0,size=160M -numa node,nodeid=0,memdev=node0,cpus=0-0"),
            "{text}"
        );
        assert!(
            text.contains("memory-backend-ram,id=node1,size=161M -numa node,nodeid=1,memdev=node1,cpus=1-2"),
            "{text}"
        );
    }

    #[test]
    fn the_log_tells_a_triple_fault_from_a_reset() {
        let qemu = Qemu { accel: Accel::Tcg, hints: String::new() };
        let reset = || Ending::Reset { by: None };
        assert_eq!(qemu.refine(reset(), "CPU Reset (CPU 0)\nRAX=0000 RBX=0000\n"), reset());
        let fault = Ending::TripleFault { vcpu: None, registers: None };
        assert_eq!(qemu.refine(reset(), "CPU Reset (CPU 0)\nTriple fault\n"), fault);
        assert_eq!(qemu.refine(Ending::PowerOff, "Triple fault\n"), Ending::PowerOff);
    }

    #[test]
    fn its_complaint_is_found_among_register_dumps() {
        let qemu = Qemu { accel: Accel::Tcg, hints: String::new() };
        let log = "CPU Reset (CPU 0)\nEAX=0\nqemu-system-x86_64: no such device\nXMM07=0\n";
        assert_eq!(qemu.complaint(log), "qemu-system-x86_64: no such device");
        assert_eq!(qemu.complaint("a\nlast words\n"), "last words");
    }

    /// In the form of target/i386/cpu-dump.c.
    const INTERNAL_ERROR: &str = "\
KVM internal error. Suberror: 1
emulation failure
RAX=0000000000000001 RBX=0000000000000002 RCX=00000000c0000080 RDX=0000000000000000
RSI=0000000000000005 RDI=0000000000000006 RBP=0000000000000007 RSP=ffffc90000013ef8
R8 =0000000000000000 R9 =0000000000000000 R10=0000000000000000 R11=0000000000000000
RIP=ffffffff81000110 RFL=00010046 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0
ES =0000 0000000000000000 ffffffff 00c00000
CR0=80050033 CR2=ffff888001e01000 CR3=0000000001e0a000 CR4=000000b0
DR6=00000000fffe0ff0 DR7=0000000000000400
EFER=0000000000000d01
Code=66 90 <48> 0f c7 4f 20 c3
";

    #[test]
    fn an_internal_error_shows_where_the_vcpu_stood() {
        let Ending::InternalError { suberror, instruction, registers } = internal_error(INTERNAL_ERROR) else {
            panic!()
        };
        assert_eq!((suberror, instruction.as_str()), (Some(1), "480fc74f20c3"));
        let registers = registers.unwrap();
        assert_eq!(
            (registers.rip, registers.rsp, registers.rflags),
            (0xffff_ffff_8100_0110, 0xffff_c900_0001_3ef8, 0x10046)
        );
        assert_eq!((registers.rax, registers.cr2, registers.efer), (1, 0xffff_8880_01e0_1000, 0xd01));
        let nothing = Ending::InternalError { suberror: None, instruction: String::new(), registers: None };
        assert_eq!(internal_error("no such words"), nothing);
    }
}
