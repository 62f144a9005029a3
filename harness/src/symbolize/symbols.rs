//! Which function a frame means: its name and size against a symbol table, as kallsyms counts sizes.

use super::Unresolved;
use std::collections::HashMap;

/// One symbol of an executable section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol {
    /// Where it begins.
    pub address: u64,
    /// Its size in bytes as the ELF says; 0 for most labels of assembly.
    pub size: u64,
    /// Where its section ends.
    pub section_end: u64,
    /// A function, not a label.
    pub function: bool,
}

/// The text symbols of a vmlinux.
#[derive(Debug, Default)]
pub struct Symbols<'d> {
    by_name: HashMap<&'d str, Vec<Symbol>>,
    /// Where symbols begin, sorted.
    starts: Vec<u64>,
    /// Where functions begin, sorted.
    function_starts: Vec<u64>,
}

impl<'d> Symbols<'d> {
    /// Indexes them.
    pub fn new(symbols: impl Iterator<Item = (&'d str, Symbol)>) -> Self {
        let mut all = Self::default();
        for (name, symbol) in symbols {
            // Assembler-local labels and arm's mapping symbols: kallsyms drops them too.
            if name.is_empty() || name.starts_with(".L") || name.starts_with('$') {
                continue;
            }
            all.starts.push(symbol.address);
            // The padding before a function has a symbol of its own; it belongs to the function before for some kernels.
            if symbol.function && !name.starts_with("__pfx_") {
                all.function_starts.push(symbol.address);
            }
            all.by_name.entry(plain(name)).or_default().push(symbol);
        }
        all.starts.sort_unstable();
        all.function_starts.sort_unstable();
        all
    }

    /// Where the functions of this name and printed size begin; more than one where they cannot be told apart.
    ///
    /// # Errors
    /// [`Unresolved::NoSymbol`] or [`Unresolved::OtherSize`].
    pub fn find(&self, name: &str, size: Option<u64>) -> Result<Vec<u64>, Unresolved> {
        let named = self.by_name.get(plain(name)).ok_or(Unresolved::NoSymbol)?;
        let distinct = |symbols: Vec<&Symbol>| {
            let mut addresses: Vec<u64> = symbols.into_iter().map(|s| s.address).collect();
            addresses.sort_unstable();
            addresses.dedup();
            addresses
        };
        let Some(size) = size else { return Ok(distinct(named.iter().collect())) };
        // A trace's size is kallsyms': up to the next symbol, padding and all. Which symbols kallsyms keeps depends on
        // the kernel's version, so a size between the function's own and the way to the next function will do.
        let by_distance = |s: &&Symbol| distance(&self.starts, s) == size;
        let by_size = |s: &&Symbol| s.size == size;
        let by_room = |s: &&Symbol| s.size <= size && size <= distance(&self.function_starts, s);
        let tiers: [&dyn Fn(&&Symbol) -> bool; 3] = [&by_distance, &by_size, &by_room];
        for tier in tiers {
            let fitting: Vec<_> = named.iter().filter(|s| tier(s)).collect();
            if !fitting.is_empty() {
                return Ok(distinct(fitting));
            }
        }
        let mut sizes: Vec<u64> = named.iter().map(|s| distance(&self.starts, s)).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes.truncate(8);
        Err(Unresolved::OtherSize { log: size, vmlinux: sizes })
    }
}

/// Bytes from a symbol to the next start or the end of its section.
fn distance(starts: &[u64], symbol: &Symbol) -> u64 {
    let next = starts.get(starts.partition_point(|&s| s <= symbol.address)).copied();
    next.map_or(symbol.section_end, |n| n.min(symbol.section_end)).saturating_sub(symbol.address)
}

/// The name as kallsyms prints it: Clang's LTO appends a hash to promoted statics, which kallsyms cuts off.
fn plain(name: &str) -> &str {
    name.split_once(".llvm.").map_or(name, |(plain, _)| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(address: u64, size: u64) -> Symbol {
        Symbol { address, size, section_end: 0x2000, function: true }
    }

    fn table() -> Symbols<'static> {
        let label = |address| Symbol { function: false, ..function(address, 0) };
        let all = [
            ("probe", function(0x1000, 0x1d)),
            ("probe", function(0x1020, 0x40)),
            ("__pfx_next", label(0x1060)),
            ("next", function(0x1070, 0x50)),
            ("inner", label(0x1080)),
            (".Lhidden", label(0x1090)),
            ("promoted.llvm.123", function(0x1100, 0x10)),
            ("twin", function(0x1200, 0x20)),
            ("twin", function(0x1220, 0x20)),
            ("alias", function(0x1220, 0x20)),
            ("behind", function(0x1240, 0x20)),
            ("last", function(0x1f00, 0x80)),
        ];
        Symbols::new(all.into_iter())
    }

    #[test]
    fn one_of_several_is_picked_by_size() {
        let table = table();
        assert_eq!(table.find("probe", Some(0x20)), Ok(vec![0x1000]), "the way to the next symbol");
        assert_eq!(table.find("probe", Some(0x1d)), Ok(vec![0x1000]), "the function's own size");
        assert_eq!(table.find("probe", Some(0x50)), Ok(vec![0x1020]), "a kernel whose kallsyms has no __pfx_");
        assert_eq!(table.find("probe", None), Ok(vec![0x1000, 0x1020]));
        assert_eq!(table.find("next", Some(0x10)), Ok(vec![0x1070]), "up to a label within");
        assert_eq!(table.find("next", Some(0x50)), Ok(vec![0x1070]));
        assert_eq!(table.find("last", Some(0x100)), Ok(vec![0x1f00]), "up to the section's end");
        assert_eq!(table.find("promoted", Some(0x10)), Ok(vec![0x1100]));
        assert_eq!(table.find("twin", Some(0x20)), Ok(vec![0x1200, 0x1220]), "cannot be told apart");
    }

    #[test]
    fn what_does_not_fit_says_why() {
        let table = table();
        assert_eq!(table.find("absent", Some(1)), Err(Unresolved::NoSymbol));
        let sizes = Unresolved::OtherSize { log: 0x900, vmlinux: vec![0x20, 0x40] };
        assert_eq!(table.find("probe", Some(0x900)), Err(sizes));
        assert!(table.find("probe", Some(1)).is_err());
    }

    #[test]
    fn hostile_tables_do_no_harm() {
        let wild = Symbol { address: u64::MAX, size: u64::MAX, section_end: 0, function: true };
        let table = Symbols::new([("wild", wild), ("wild", wild)].into_iter());
        assert_eq!(table.find("wild", Some(u64::MAX)), Ok(vec![u64::MAX]));
        assert_eq!(table.find("wild", Some(0)), Ok(vec![u64::MAX]));
    }
}
