//! A vmlinux as a mapped file: its build id, banner, symbols and debug sections.

use super::symbols::Symbol;
use anyhow::{bail, Context, Result};
use gimli::{DwarfSections, EndianSlice, RunTimeEndian};
use memmap2::Mmap;
use object::{CompressionFormat, Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

/// Debug sections compressed in the file (`CONFIG_DEBUG_INFO_COMPRESSED`) must fit this, in bytes, each when inflated.
const MAX_INFLATED: u64 = 4 << 30;
/// Debug sections that are not read, which matters where they are compressed.
const UNUSED: [&str; 5] = [".debug_loc", ".debug_loclists", ".debug_macinfo", ".debug_macro", ".debug_types"];
/// Bytes of a banner: `printk` takes no longer line.
const MAX_BANNER: usize = 1024;
/// What `linux_banner` begins with.
pub(super) const BANNER: &str = "Linux version ";

/// The bytes of a section.
#[derive(Debug)]
enum Bytes {
    Mapped(Range<usize>),
    Inflated(Vec<u8>),
}

/// How gimli reads a [`Vmlinux`].
pub(super) type Reader<'f> = EndianSlice<'f, RunTimeEndian>;

/// An ELF file with symbols, mapped.
#[derive(Debug)]
pub struct Vmlinux {
    path: PathBuf,
    map: Mmap,
    modified: SystemTime,
    sections: OnceLock<DwarfSections<Bytes>>,
}

impl Vmlinux {
    /// Maps it. Do not write to it in place while this lives: like for every program that maps a file, reading what was
    /// cut off kills the process (linkers and `install` make a new file).
    ///
    /// # Errors
    /// There is no such file, or it is no ELF file; says which.
    pub fn open(path: &Path) -> Result<Self> {
        let inner = || {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                bail!("not a regular file");
            }
            // SAFETY: a private read-only mapping. The bytes are only ever taken for bytes (no type relies on their
            // values), by parsers that check every offset; a writer in place can make their results wrong, and a
            // truncation ends the process by SIGBUS, as documented above.
            let map = unsafe { Mmap::map(&file) }?;
            let new = Self { path: path.to_owned(), map, modified: metadata.modified()?, sections: OnceLock::new() };
            if !new.map.starts_with(b"\x7fELF") {
                bail!("not an ELF file; symbols are in `vmlinux`, not in bzImage or vmlinuz");
            }
            new.object()?;
            Ok(new)
        };
        inner().with_context(|| format!("cannot read symbols from {}", path.display()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.map.len() as u64
    }

    /// When it was last written.
    pub fn modified(&self) -> SystemTime {
        self.modified
    }

    fn object(&self) -> Result<object::File<'_>> {
        object::File::parse(&*self.map).context("damaged ELF headers")
    }

    /// The GNU build id in hexadecimal, if it has one.
    pub fn build_id(&self) -> Option<String> {
        let id = self.object().ok()?.build_id().ok()??;
        (!id.is_empty() && id.len() <= 64).then(|| id.iter().map(|b| format!("{b:02x}")).collect())
    }

    /// `linux_banner`, the text that the kernel prints first; none where it is no kernel, or its data was stripped.
    pub fn banner(&self) -> Option<String> {
        let object = self.object().ok()?;
        let symbol = object.symbols().find(|s| s.name() == Ok("linux_banner"))?;
        let section = object.section_by_index(symbol.section_index()?).ok()?;
        let data = section.data().ok()?;
        let start = usize::try_from(symbol.address().checked_sub(section.address())?).ok()?;
        let text = data.get(start..)?;
        let text = &text[..text.len().min(MAX_BANNER)];
        let text = &text[..text.iter().position(|&b| b == 0)?];
        let text = String::from_utf8_lossy(text).trim_end().to_owned();
        text.starts_with(BANNER).then_some(text)
    }

    /// The symbols of its executable sections.
    ///
    /// # Errors
    /// The headers are damaged.
    pub fn symbols(&self) -> Result<Vec<(&str, Symbol)>> {
        let object = self.object()?;
        // Per section index: where it ends, if code is in it.
        let mut ends = Vec::new();
        for section in object.sections().filter(|s| s.kind() == SectionKind::Text) {
            let index = section.index().0;
            // A hostile file may have any index; real ones are few.
            if index < 1 << 16 {
                ends.resize(ends.len().max(index + 1), None);
                ends[index] = Some(section.address().saturating_add(section.size()));
            }
        }
        // The names borrow from the map, not from `object`.
        let symbols = object.symbols().filter_map(|symbol| {
            // Functions, and the labels that assembly leaves without a type.
            let function = symbol.kind() == SymbolKind::Text;
            let section_end = (*ends.get(symbol.section_index()?.0)?)?;
            if !function && !matches!(symbol.kind(), SymbolKind::Unknown | SymbolKind::Label) {
                return None;
            }
            let symbol_of = Symbol { address: symbol.address(), size: symbol.size(), section_end, function };
            Some((symbol.name().ok()?, symbol_of))
        });
        Ok(symbols.collect())
    }

    /// The debug sections, inflated at the first call where they are compressed.
    ///
    /// # Errors
    /// There are none, or they are damaged or too large.
    pub(super) fn dwarf(&self) -> Result<gimli::Dwarf<Reader<'_>>> {
        let object = self.object()?;
        let endian = if object.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
        let sections = match self.sections.get() {
            Some(sections) => sections,
            None => {
                if object.section_by_name(".debug_info").is_none() {
                    bail!("it has no debug information: build with CONFIG_DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT");
                }
                let loaded = DwarfSections::load(|id| self.load(&object, id.name()))?;
                self.sections.get_or_init(|| loaded)
            }
        };
        Ok(sections.borrow(|bytes| {
            let bytes = match bytes {
                Bytes::Mapped(range) => self.map.get(range.clone()).unwrap_or_default(),
                Bytes::Inflated(bytes) => bytes,
            };
            EndianSlice::new(bytes, endian)
        }))
    }

    fn load(&self, object: &object::File<'_>, name: &str) -> Result<Bytes> {
        // Where variables are: large, and not asked for.
        let unused = UNUSED.contains(&name);
        let Some(section) = object.section_by_name(name).filter(|_| !unused) else { return Ok(Bytes::Mapped(0..0)) };
        let inner = || {
            let at = section.compressed_file_range()?;
            if at.format == CompressionFormat::None {
                let start = usize::try_from(at.offset)?;
                let end = start.checked_add(usize::try_from(at.compressed_size)?).context("too long")?;
                self.map.get(start..end).context("beyond the file's end")?;
                return Ok(Bytes::Mapped(start..end));
            }
            if at.uncompressed_size > MAX_INFLATED {
                bail!("inflates to {} bytes", at.uncompressed_size);
            }
            Ok(Bytes::Inflated(at.data(&*self.map)?.decompress()?.into_owned()))
        };
        inner().with_context(|| format!("damaged section {name}"))
    }
}
