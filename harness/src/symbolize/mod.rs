//! Symbolization: from `function+0xoffset/0xsize` and a vmlinux to file, line and inlined functions.
//!
//! A frame is resolved by its function's name, size and offset, so it does not matter where KASLR put the kernel. What was
//! resolved is kept in the cache folder. Nothing here knows the oracle; whoever has frames asks with a [`Query`].
//!
//! | file | job |
//! |---|---|
//! | `elf` | the mapped vmlinux: build id, banner, symbols, debug sections |
//! | `symbols` | which function is meant: name and size against the symbol table |
//! | `dwarf` | address to inlined functions and lines |
//! | `path` | source paths as kernel developers write them |
//! | `identity` | whether log and vmlinux are of the same kernel |
//! | `excerpt` | source lines around a place |
//! | `store` | what was resolved before |
//!
//! ```no_run
//! use mmtorture_harness::symbolize::{Query, Symbolizer, Vmlinux};
//! let file = Vmlinux::open("vmlinux".as_ref())?;
//! let mut symbols = Symbolizer::new(&file, None);
//! let frame = Query::new("migrate_pages", 0x48e).size(0x2cc0);
//! println!("migrate_pages+0x48e/0x2cc0 {}", symbols.resolve(&frame)?);
//! # Ok::<(), anyhow::Error>(())
//! ```

mod dwarf;
mod elf;
mod excerpt;
mod identity;
mod path;
mod store;
mod symbols;

#[cfg(test)]
pub(crate) mod small_kernel;
#[cfg(test)]
mod tests;

pub use elf::Vmlinux;
pub use excerpt::Excerpt;
pub use identity::{Identities, Identity, Verdict};
pub use symbols::Symbol;

use crate::cache::Cache;
use dwarf::Lines;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use store::Store;
use symbols::Symbols;

/// Functions of one name and size that are looked at before giving up.
const MAX_TWINS: usize = 8;

/// What to resolve: a stack trace's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'q> {
    /// The function's name as printed.
    pub function: &'q str,
    /// Byte offset into it as printed; none for entries of a log that was symbolized before.
    pub offset: Option<u64>,
    /// The function's size in bytes as printed, which tells functions of one name apart.
    pub size: Option<u64>,
    /// The module that was printed behind it.
    pub module: Option<&'q str>,
    /// The offset is of the instruction itself (`RIP:`), not a return address, which is that of the instruction after the
    /// call and may even be behind the function's end.
    pub exact: bool,
}

impl<'q> Query<'q> {
    /// A return address in vmlinux.
    pub fn new(function: &'q str, offset: u64) -> Self {
        Self { function, offset: Some(offset), size: None, module: None, exact: false }
    }

    /// With the function's size in bytes.
    #[must_use]
    pub fn size(self, size: u64) -> Self {
        Self { size: Some(size), ..self }
    }

    /// An instruction pointer, not a return address.
    #[must_use]
    pub fn exact(self) -> Self {
        Self { exact: true, ..self }
    }
}

/// One function at a place, inlined or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Its name in the source.
    pub function: String,
    /// The source file, from the tree's root where that is known: `mm/migrate.c`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line, 1-based.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

/// What stands at an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The source file that the frame's own function was at, from the tree's root where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its line, 1-based. Where `inlines` has entries, that is where the outermost of them was inlined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Functions inlined there, innermost first.
    pub inlines: Vec<Site>,
    /// The frame's own function as the source names it, without the compiler's suffixes.
    #[serde(skip)]
    pub function: String,
    /// The address in the vmlinux.
    #[serde(skip)]
    pub address: u64,
}

impl Place {
    fn new(address: u64, mut chain: Vec<Site>) -> Option<Self> {
        let Site { function, file, line } = chain.pop()?;
        Some(Self { file, line, inlines: chain, function, address })
    }

    /// File and line, 1-based, to show to somebody who asks what happened there: the innermost that is not in a header,
    /// for a one-line helper says less than what called it.
    pub fn telling(&self) -> Option<(&str, u32)> {
        let inlined = self.inlines.iter().map(|s| (s.file.as_deref(), s.line));
        let all: Vec<(&str, u32)> =
            inlined.chain([(self.file.as_deref(), self.line)]).filter_map(|(f, l)| Some((f?, l?))).collect();
        all.iter().find(|(file, _)| !file.ends_with(".h")).or(all.first()).copied()
    }
}

/// `mm/migrate.c:1160 (inlined: a mm/a.c:1, b mm/b.c:2)`, the innermost first.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_location(f, self.file.as_deref(), self.line)?;
        for (i, site) in self.inlines.iter().enumerate() {
            write!(f, "{}{} ", if i == 0 { " (inlined: " } else { ", " }, site.function)?;
            write_location(f, site.file.as_deref(), site.line)?;
        }
        f.write_str(if self.inlines.is_empty() { "" } else { ")" })
    }
}

fn write_location(f: &mut fmt::Formatter<'_>, file: Option<&str>, line: Option<u32>) -> fmt::Result {
    f.write_str(file.unwrap_or("?"))?;
    line.map_or(Ok(()), |line| write!(f, ":{line}"))
}

/// Why a frame has no place. The message is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// It is of a module.
    #[error("in module {0}, whose symbols are not in vmlinux")]
    Module(String),
    /// The log has the function's name only.
    #[error("no offset in the log")]
    NoOffset,
    /// The vmlinux has no such function.
    #[error("no such function in the vmlinux")]
    NoSymbol,
    /// The vmlinux has such functions, all of other sizes.
    #[error("{log:#x} bytes in the log, {} in the vmlinux", hex(vmlinux))]
    OtherSize {
        /// Size in bytes that the log says.
        log: u64,
        /// Sizes in bytes that the vmlinux says.
        vmlinux: Vec<u64>,
    },
    /// The offset is larger than the size.
    #[error("the offset is beyond the function's end")]
    Beyond,
    /// Several functions of that name and size, at different places.
    #[error("{count} functions of that name and size: {places}")]
    Ambiguous {
        /// How many.
        count: usize,
        /// Their places.
        places: String,
    },
    /// No unit of the debug information covers the address.
    #[error("no line information at {0:#x}")]
    NoLine(u64),
    /// The vmlinux cannot be read.
    #[error("{0}")]
    Damaged(String),
}

fn hex(numbers: &[u64]) -> String {
    numbers.iter().map(|n| format!("{n:#x}")).collect::<Vec<_>>().join(" or ")
}

/// Resolves frames against one vmlinux.
#[derive(Debug)]
pub struct Symbolizer<'f> {
    file: &'f Vmlinux,
    identity: Identity,
    store: Store,
    /// Read at the first frame.
    symbols: Option<Result<Symbols<'f>, Unresolved>>,
    /// Read at the first frame that the store does not know.
    lines: Option<Result<Lines<'f>, Unresolved>>,
}

impl<'f> Symbolizer<'f> {
    /// Without a `cache` everything is resolved anew.
    pub fn new(file: &'f Vmlinux, cache: Option<&Cache>) -> Self {
        let banner = file.banner().and_then(|banner| Identity::of_banner(&banner)).unwrap_or_default();
        let identity = Identity { build_id: file.build_id(), ..banner };
        let store = cache.map_or_else(Store::volatile, |cache| Store::open(cache, file));
        Self { file, identity, store, symbols: None, lines: None }
    }

    /// Which kernel the vmlinux is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where its source is, if the debug information says so and it is there.
    pub fn source(&self) -> Option<PathBuf> {
        let root = Path::new(self.store.root()?);
        (root.is_absolute() && root.is_dir()).then(|| root.to_owned())
    }

    /// The place of a stack trace's entry.
    ///
    /// # Errors
    /// Says why it has none.
    pub fn resolve(&mut self, query: &Query<'_>) -> Result<Place, Unresolved> {
        if let Some(module) = query.module {
            return Err(Unresolved::Module(module.to_owned()));
        }
        let offset = query.offset.ok_or(Unresolved::NoOffset)?;
        // A call that does not return may be a function's last instruction: its return address is the function's end.
        if query.size.is_some_and(|size| offset > size || (query.exact && offset == size)) {
            return Err(Unresolved::Beyond);
        }
        let starts = self.symbols()?.find(query.function, query.size)?;
        let count = starts.len();
        let mut places = Vec::new();
        for start in starts.into_iter().take(MAX_TWINS) {
            let address = start.checked_add(offset).ok_or(Unresolved::Beyond)?;
            places.push(self.at(address, query.exact || offset == 0, query.function)?);
        }
        let same = |place: &Place| {
            (&place.file, place.line, &place.inlines) == (&places[0].file, places[0].line, &places[0].inlines)
        };
        if count > MAX_TWINS || !places.iter().all(same) {
            let mut listed: Vec<_> = places.iter().map(ToString::to_string).collect();
            listed.dedup();
            return Err(Unresolved::Ambiguous { count, places: listed.join("; ") });
        }
        Ok(places.swap_remove(0))
    }

    /// The place of an address as linked, that is without KASLR's offset. `exact` as in [`Query`].
    ///
    /// # Errors
    /// Says why it has none.
    pub fn resolve_address(&mut self, address: u64, exact: bool) -> Result<Place, Unresolved> {
        self.at(address, exact, "?")
    }

    fn at(&mut self, address: u64, exact: bool, symbol: &str) -> Result<Place, Unresolved> {
        // A return address is that of the next instruction, on the next line maybe: the call is just before it.
        let address = if exact { address } else { address.saturating_sub(1) };
        let known = self.store.get(address).map(<[Site]>::to_vec);
        let chain = match known {
            Some(chain) => chain,
            None => {
                let root = self.root()?;
                let mut chain = self.lines()?.chain(address, symbol)?;
                for site in &mut chain {
                    if let Some(file) = &mut site.file {
                        *file = path::relative(file, &root).to_owned();
                    }
                }
                self.store.set(address, &chain);
                chain
            }
        };
        Place::new(address, chain).ok_or(Unresolved::NoLine(address))
    }

    /// Keeps in the cache what was resolved.
    ///
    /// # Errors
    /// The cache folder cannot be written.
    pub fn save(&mut self) -> anyhow::Result<()> {
        self.store.save()
    }

    /// The tree's root; `start_kernel` has always stood in `init/main.c`.
    fn root(&mut self) -> Result<String, Unresolved> {
        if let Some(root) = self.store.root() {
            return Ok(root.to_owned());
        }
        let start = self.symbols()?.find("start_kernel", None).ok().and_then(|at| at.first().copied());
        let lines = self.lines()?;
        let file = start.and_then(|at| lines.file(at)).unwrap_or_default();
        let root = path::root(&file).to_owned();
        self.store.set_root(&root);
        Ok(root)
    }

    fn symbols(&mut self) -> Result<&Symbols<'f>, Unresolved> {
        let read = || {
            let symbols = self.file.symbols().map_err(|e| Unresolved::Damaged(format!("{e:#}")))?;
            if symbols.is_empty() {
                return Err(Unresolved::Damaged("the vmlinux has no symbols".to_owned()));
            }
            Ok(Symbols::new(symbols.into_iter()))
        };
        self.symbols.get_or_insert_with(read).as_ref().map_err(Clone::clone)
    }

    fn lines(&mut self) -> Result<&Lines<'f>, Unresolved> {
        let read = || Lines::new(self.file).map_err(|e| Unresolved::Damaged(format!("{e:#}")));
        self.lines.get_or_insert_with(read).as_ref().map_err(Clone::clone)
    }
}
