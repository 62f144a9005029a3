//! `mmtorture doctor`.

use super::{print, print_json, Format};
use crate::cache::Cache;
use crate::error::Result;
use crate::image::Programs;
use crate::machine::choose::{self, Choice};
use crate::machine::qemu;
use crate::process;
use crate::table::table;
use mmtorture_vmm::{Report, Verdict};
use serde::Serialize;
use std::path::Path;
use std::process::Command;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    status: Status,
    detail: String,
    /// How to get it, where it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    get: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Status {
    Ok,
    /// Works without, if slower or less.
    Lacking,
    /// Does not work without.
    Missing,
}

/// Tools: the program, how to get it, whether nothing works without it.
const TOOLS: &[(&str, &str, bool)] = &[
    ("gcc", "apt-get install gcc", true),
    ("ld", "apt-get install binutils", true),
    ("make", "apt-get install make", true),
    ("flex", "apt-get install flex", true),
    ("bison", "apt-get install bison", true),
    ("bc", "apt-get install bc", true),
    ("tar", "apt-get install tar", true),
    ("xz", "apt-get install xz-utils", true),
    ("ccache", "apt-get install ccache", false),
];

pub(super) fn run(args: &Args) -> Result<u8> {
    let report = mmtorture_vmm::probe();
    let (choice, _) = choose::auto(&report);
    // Where KVM is good our own machine does without it.
    let qemu = check_tool(qemu::PROGRAM, "apt-get install qemu-system-x86", !matches!(choice, Choice::Vmm { .. }));
    let tools = TOOLS.iter().map(|&(tool, get, needed)| check_tool(tool, get, needed));
    let mut checks: Vec<_> = std::iter::once(qemu).chain(tools).collect();
    checks.push(check_header());
    checks.push(check_source());
    checks.push(check_programs());
    checks.push(check_cache());
    checks.push(check_kvm(&report));
    checks.push(check_vmm(&report));
    checks.push(check_machine(&report));
    let missing = checks.iter().any(|c| c.status == Status::Missing);
    if args.format == Format::Json {
        print_json(&checks)?;
    } else {
        let rows: Vec<_> = checks
            .iter()
            .map(|c| {
                let status = match c.status {
                    Status::Ok => "ok",
                    Status::Lacking => "lacking",
                    Status::Missing => "MISSING",
                };
                let get = c.get.map_or_else(String::new, |get| format!("; get it with: {get}"));
                vec![c.what.to_owned(), status.to_owned(), format!("{}{get}", c.detail)]
            })
            .collect();
        print(&table(&["WHAT", "STATUS", "DETAIL"], &rows))?;
        let verdict = if missing {
            "this host cannot run a matrix yet; `make setup` installs what is missing"
        } else {
            "this host can run a matrix"
        };
        print(&format!("\n{verdict}\n"))?;
    }
    Ok(if missing { 3 } else { 0 })
}

fn check_tool(tool: &'static str, get: &'static str, needed: bool) -> Check {
    let mut command = Command::new(tool);
    command.arg("--version");
    match process::output(command) {
        Ok(said) => {
            let version = said.lines().next().unwrap_or_default().to_owned();
            Check { what: tool, status: Status::Ok, detail: version, get: None }
        }
        Err(_) => {
            let status = if needed { Status::Missing } else { Status::Lacking };
            let detail = match (needed, tool) {
                (true, _) => "not found",
                (false, qemu::PROGRAM) => "not found: --machine qemu needs it",
                (false, _) => "not found: kernels build without it, but slower",
            };
            Check { what: tool, status, detail: detail.to_owned(), get: Some(get) }
        }
    }
}

/// objtool, which CONFIG_UNWINDER_ORC and friends build, wants libelf's header.
fn check_header() -> Check {
    let path = "/usr/include/libelf.h";
    let there = Path::new(path).exists();
    Check {
        what: "libelf",
        status: if there { Status::Ok } else { Status::Missing },
        detail: path.to_owned(),
        get: (!there).then_some("apt-get install libelf-dev"),
    }
}

fn check_source() -> Check {
    let sources = std::fs::read_dir("/usr/src").into_iter().flatten().flatten();
    let mut names: Vec<_> = sources
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("linux-source-") && name.ends_with(".tar.xz"))
        .collect();
    names.sort();
    let there = !names.is_empty();
    Check {
        what: "kernel source",
        status: if there { Status::Ok } else { Status::Missing },
        detail: if there { names.join(", ") } else { "none in /usr/src".to_owned() },
        get: (!there).then_some("apt-get install linux-source-6.1"),
    }
}

fn check_programs() -> Check {
    match Programs::find() {
        Ok(programs) => {
            let detail = programs.torture().display().to_string();
            Check { what: "our programs", status: Status::Ok, detail, get: None }
        }
        Err(e) => {
            let get = Some("cargo build --release");
            Check { what: "our programs", status: Status::Missing, detail: e.to_string(), get }
        }
    }
}

fn check_cache() -> Check {
    let what = "cache";
    let free = |path: &Path| {
        rustix::fs::statvfs(path).map(|s| s.f_bavail.saturating_mul(s.f_frsize) >> 30).map_err(anyhow::Error::from)
    };
    match Cache::open().and_then(|cache| Ok((free(cache.root())?, cache))) {
        // A source with its work tree takes 2 GiB, a compiler cache up to 4.
        Ok((gib, cache)) => {
            let status = if gib < 8 { Status::Lacking } else { Status::Ok };
            Check { what, status, detail: format!("{}, {gib} GiB free", cache.root().display()), get: None }
        }
        Err(e) => Check { what, status: Status::Missing, detail: e.to_string(), get: None },
    }
}

fn check_kvm(report: &Report) -> Check {
    Check { what: "KVM", status: kvm_status(report), detail: report.sentence(), get: None }
}

fn kvm_status(report: &Report) -> Status {
    if report.usable_for_torture() {
        Status::Ok
    } else {
        Status::Lacking
    }
}

/// What our own machine can do here.
fn check_vmm(report: &Report) -> Check {
    let can = match &report.verdict {
        Verdict::Native => "runs guests natively",
        Verdict::Software { stops_at, .. } if stops_at.is_empty() => "would run guests far slower than TCG does",
        Verdict::Software { .. } => "would run no kernel to its end: this KVM stops at instructions that kernels need",
        Verdict::Absent { .. } => "runs nothing without KVM",
    };
    Check { what: "mmtorture-vmm", status: kvm_status(report), detail: can.to_owned(), get: None }
}

/// What `--machine auto` comes to.
fn check_machine(report: &Report) -> Check {
    let (choice, _) = choose::auto(report);
    Check { what: "machine", status: Status::Ok, detail: format!("auto chooses {}", choice.name()), get: None }
}
