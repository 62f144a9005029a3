//! From an address to the functions inlined there, with file and line.

use super::elf::Reader;
use super::elf::Vmlinux;
use super::{path, Site, Unresolved};
use anyhow::{Context as _, Result};

/// Functions inlined into each other at one address; a damaged file must not make them endless.
const MAX_DEPTH: usize = 64;

/// The line and function tables of a vmlinux. Making one reads the headers of all units; a unit is read when asked for.
///
/// Damaged tables yield errors, or wrong places. One thing is not guarded against: addr2line recurses once for every level
/// of inlining, so a file made for it, with some ten thousand levels, overflows the stack.
pub(super) struct Lines<'f>(addr2line::Context<Reader<'f>>);

impl<'f> Lines<'f> {
    /// # Errors
    /// There is no debug information, or it is damaged.
    pub fn new(file: &'f Vmlinux) -> Result<Self> {
        Ok(Self(addr2line::Context::from_dwarf(file.dwarf()?).context("damaged debug information")?))
    }

    /// What stands at an address, innermost first; full, normalized paths. `symbol` names the function where only lines
    /// are known, as in assembly.
    ///
    /// # Errors
    /// [`Unresolved::NoLine`], [`Unresolved::Damaged`].
    pub fn chain(&self, address: u64, symbol: &str) -> Result<Vec<Site>, Unresolved> {
        // addr2line looks for what covers `address..address + 1`.
        if address == u64::MAX {
            return Err(Unresolved::NoLine(address));
        }
        let damaged = |e: gimli::Error| Unresolved::Damaged(e.to_string());
        // Split DWARF's other files are not looked for; kernels have not offered it since 6.6.
        let mut frames = self.0.find_frames(address).skip_all_loads().map_err(damaged)?;
        let mut chain = Vec::new();
        while let Some(frame) = frames.next().map_err(damaged)? {
            let name = frame.function.as_ref().and_then(|f| f.raw_name().ok()).map(std::borrow::Cow::into_owned);
            let location = frame.location;
            chain.push(Site {
                function: name.unwrap_or_else(|| symbol.to_owned()),
                file: location.as_ref().and_then(|l| l.file).map(path::normalize),
                line: location.and_then(|l| l.line).filter(|&l| l > 0),
            });
            if chain.len() == MAX_DEPTH {
                return Err(Unresolved::Damaged("inlines without end".to_owned()));
            }
        }
        if chain.iter().all(|site| site.file.is_none()) {
            return Err(Unresolved::NoLine(address));
        }
        Ok(chain)
    }

    /// The file that an address stands in.
    pub fn file(&self, address: u64) -> Option<String> {
        if address == u64::MAX {
            return None;
        }
        Some(path::normalize(self.0.find_location(address).ok()??.file?))
    }
}

impl std::fmt::Debug for Lines<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lines")
    }
}
