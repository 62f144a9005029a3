//! `mmtorture cache`.

use super::{print, print_json, Format};
use crate::build::{Meta, KERNELS, META};
use crate::cache::prune::{limit, Pruned, LIMIT};
use crate::cache::usage::{measure, Item};
use crate::cache::Cache;
use crate::error::Result;
use crate::files;
use crate::hash::short;
use crate::size::Size;
use crate::table::table;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// How to print it
    #[arg(long, value_enum, default_value_t, global = true)]
    format: Format,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Remove what was not used for the longest, and is not in use
    Prune {
        /// Until the cache is no larger; by default MMTORTURE_CACHE_SIZE, or 40G
        #[arg(long, value_name = "SIZE")]
        to: Option<Size>,
    },
}

/// A kernel as it is shown.
#[derive(Debug, Serialize)]
struct Row {
    kernel: String,
    variant: String,
    source: String,
    bytes: Size,
    /// Seconds since it was used.
    unused_seconds: u64,
    /// How long make took for it.
    build_seconds: f64,
}

/// All of it.
#[derive(Debug, Serialize)]
struct Shown {
    root: String,
    total: Size,
    limit: Size,
    kinds: BTreeMap<String, Size>,
    kernels: Vec<Row>,
}

pub(super) fn run(args: &Args) -> Result<u8> {
    let cache = Cache::open()?;
    match &args.action {
        None => show(&cache, args.format)?,
        Some(Action::Prune { to }) => {
            let to = match to {
                Some(size) => *size,
                None => limit()?,
            };
            prune(&cache, to, args.format)?;
        }
    }
    Ok(0)
}

fn show(cache: &Cache, format: Format) -> Result<()> {
    let limit = limit()?;
    let items = measure(cache)?;
    let total = Size(items.iter().map(|item| item.bytes).sum());
    let mut kinds: BTreeMap<String, Size> = BTreeMap::new();
    for item in &items {
        kinds.entry(item.kind.clone()).or_insert(Size(0)).0 += item.bytes;
    }
    let mut kernels: Vec<&Item> = items.iter().filter(|item| item.kind == KERNELS).collect();
    kernels.sort_by_key(|item| std::cmp::Reverse(item.used));
    let kernels: Vec<_> = kernels.into_iter().map(|item| row(cache, item)).collect();
    let root = cache.root().display().to_string();
    let shown = Shown { root, total, limit, kinds, kernels };
    match format {
        Format::Json => print_json(&shown),
        Format::Table => print(&text(&shown)),
    }
}

fn row(cache: &Cache, item: &Item) -> Row {
    // Without it, the kernel is there all the same.
    let meta = files::read_json::<Meta>(&cache.path(KERNELS, &item.name).join(META)).ok();
    let age = SystemTime::now().duration_since(item.used).unwrap_or_default();
    let of = |field: fn(Meta) -> String, meta: &Option<Meta>| meta.clone().map(field).unwrap_or_default();
    Row {
        kernel: item.name.clone(),
        variant: of(|meta| meta.variant, &meta),
        source: of(|meta| meta.source, &meta),
        bytes: Size(item.bytes),
        unused_seconds: age.as_secs(),
        build_seconds: meta.map_or(0.0, |meta| meta.seconds),
    }
}

fn text(shown: &Shown) -> String {
    let kinds: Vec<_> = shown.kinds.iter().map(|(kind, size)| vec![kind.clone(), size.to_string()]).collect();
    let mut text = table(&["KIND", "SIZE"], &kinds);
    text.push_str(&format!("\n{} of {} ({LIMIT}) in {}\n", shown.total, shown.limit, shown.root));
    if !shown.kernels.is_empty() {
        let row = |row: &Row| {
            vec![
                short(&row.kernel).to_owned(),
                row.variant.clone(),
                row.source.clone(),
                row.bytes.to_string(),
                format!("{:.0} s", row.build_seconds),
                ago(Duration::from_secs(row.unused_seconds)),
            ]
        };
        let rows: Vec<_> = shown.kernels.iter().map(row).collect();
        text.push('\n');
        text.push_str(&table(&["KERNEL", "VARIANT", "SOURCE", "SIZE", "BUILT IN", "USED"], &rows));
    }
    text
}

fn prune(cache: &Cache, to: Size, format: Format) -> Result<()> {
    let Pruned { gone, in_use, left } = cache.prune(to)?;
    let freed = Size(gone.iter().map(|item| item.bytes).sum());
    if let Format::Json = format {
        let names = |items: &[Item]| items.iter().map(|i| format!("{}/{}", i.kind, i.name)).collect::<Vec<_>>();
        let value = serde_json::json!({
            "removed": names(&gone), "freed": freed, "in_use": names(&in_use), "left": left,
        });
        return print_json(&value);
    }
    let row = |item: &Item, what: &str| {
        vec![what.to_owned(), item.kind.clone(), item.name.clone(), Size(item.bytes).to_string()]
    };
    let mut rows: Vec<_> = gone.iter().map(|item| row(item, "removed")).collect();
    rows.extend(in_use.iter().map(|item| row(item, "in use")));
    let mut text = if rows.is_empty() { String::new() } else { table(&["", "KIND", "NAME", "SIZE"], &rows) + "\n" };
    text.push_str(&format!("{} removed, {} left\n", freed, Size(left)));
    print(&text)
}

/// A time in the past, in its largest unit.
fn ago(age: Duration) -> String {
    match age.as_secs() {
        s if s < 120 => format!("{s} s ago"),
        s if s < 2 * 3600 => format!("{} min ago", s / 60),
        s if s < 2 * 86_400 => format!("{} h ago", s / 3600),
        s => format!("{} days ago", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_shown_by_kind_and_by_kernel() {
        let kinds = [("kernels", 3 << 20), ("ccache", 4 << 30)].map(|(kind, size)| (kind.to_owned(), Size(size)));
        let kernel = Row {
            kernel: "0123456789abcdef".to_owned(),
            variant: "delay-rmap/all".to_owned(),
            source: "debian:linux-source-6.1".to_owned(),
            bytes: Size(3 << 20),
            unused_seconds: 7300,
            build_seconds: 12.4,
        };
        let shown = Shown {
            root: "/cache".to_owned(),
            total: Size((4 << 30) + (3 << 20)),
            limit: Size(40 << 30),
            kinds: kinds.into_iter().collect(),
            kernels: vec![kernel],
        };
        insta::assert_snapshot!(text(&shown), @r"
        KIND     SIZE
        ccache   4.0 GiB
        kernels  3.0 MiB

        4.0 GiB of 40.0 GiB (MMTORTURE_CACHE_SIZE) in /cache

        KERNEL        VARIANT         SOURCE                   SIZE     BUILT IN  USED
        0123456789ab  delay-rmap/all  debian:linux-source-6.1  3.0 MiB  12 s      2 h ago
        ");
    }
}
