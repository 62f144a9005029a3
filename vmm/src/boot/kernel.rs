//! Finding out what a kernel's file is, and loading it.
//!
//! The loading is our own rather than `linux-loader`'s, whose structures we use: that takes an ELF file's word for where
//! to write, over the boot structures too, overflows on note offsets near the end of the address space, and counts
//! neither a bss without file contents nor a bzImage's `init_size` as memory of the kernel.

use super::memory_map::low_end;
use super::{bzimage, elf};
use crate::config::Protocol;
use crate::layout::HIGH_RAM;
use crate::{Error, Result};
use linux_loader::loader::bootparam::setup_header;
use std::fmt;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap, ReadVolatile};

/// A file of a kernel: a [`std::fs::File`], or a [`std::io::Cursor`] in tests and fuzzing.
pub trait Image: Read + Seek + ReadVolatile {}

impl<T: Read + Seek + ReadVolatile> Image for T {}

/// What a kernel's file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The linked kernel, an ELF file. It starts sooner, and always at the address it was linked for: no KASLR.
    Vmlinux,
    /// The compressed kernel with its own decompressor, which is also what randomizes its address.
    BzImage,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vmlinux => "vmlinux",
            Self::BzImage => "bzImage",
        })
    }
}

/// How and where, in guest physical memory, the first vCPU enters the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// In 32-bit mode without paging, EBX at the start info.
    Pvh(u32),
    /// In 64-bit mode on identity page tables, RSI at the zero page.
    Linux64(u64),
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pvh(address) => write!(f, "entered by PVH at {address:#x}"),
            Self::Linux64(address) => write!(f, "entered by the 64-bit Linux boot protocol at {address:#x}"),
        }
    }
}

/// A kernel in guest memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    /// What its file is.
    pub format: Format,
    /// Where it is entered.
    pub entry: Entry,
    /// The memory that it needs until it manages memory itself.
    pub range: Range<u64>,
    /// A bzImage's setup header as in its file; nothing beyond the length that the header itself tells.
    pub setup_header: Option<setup_header>,
    /// The initramfs must end at this address or below.
    pub initramfs_limit: u64,
    /// The longest command line that it takes, without NUL.
    pub command_line_max: usize,
}

/// Loads a kernel into the low memory above [`HIGH_RAM`]. All else stays untouched.
///
/// # Errors
/// A request error names what was found and what was expected; a host error is a file that cannot be read.
pub fn load(memory: &GuestMemoryMmap, image: &mut impl Image, protocol: Protocol) -> Result<Kernel> {
    let file_size = image.seek(SeekFrom::End(0)).map_err(Error::host("cannot tell its size"))?;
    let mut start = vec![0; file_size.min(bzimage::HEADER_END as u64) as usize];
    read(image, 0, &mut start)?;
    let ram = HIGH_RAM..low_end(memory);
    if start.starts_with(elf::MAGIC) {
        elf::load(memory, &ram, image, file_size, protocol)
    } else if start.get(bzimage::MAGIC_AT..).is_some_and(|rest| rest.starts_with(bzimage::MAGIC)) {
        bzimage::load(memory, &ram, image, file_size, protocol)
    } else {
        let found = match &start[..start.len().min(4)] {
            [] => "an empty file".to_owned(),
            bytes => format!("a file of {file_size} bytes that begins with {bytes:02x?}"),
        };
        Err(Error::request(format!("{found}, expected a kernel: an x86-64 vmlinux (ELF) or a bzImage")))
    }
}

/// Reads `bytes.len()` bytes of the file from `offset` on.
pub(super) fn read(image: &mut impl Image, offset: u64, bytes: &mut [u8]) -> Result<()> {
    let read = image.seek(SeekFrom::Start(offset)).and_then(|_| image.read_exact(bytes));
    read.map_err(|error| match error.kind() {
        // A negative offset, as `lseek` sees it, is beyond the end, too.
        ErrorKind::UnexpectedEof | ErrorKind::InvalidInput => {
            Error::request(format!("the file ends before byte {offset} and the {} after it", bytes.len()))
        }
        _ => Error::host(format!("reading at byte {offset}"))(error),
    })
}

/// Copies `size` bytes of the file from `offset` on to guest memory, without a buffer between them. The caller has
/// checked that the file is that long.
pub(super) fn copy(
    memory: &GuestMemoryMmap,
    image: &mut impl Image,
    offset: u64,
    address: u64,
    size: u64,
) -> Result<()> {
    let step = || format!("reading {size} bytes at byte {offset} of the file");
    image.seek(SeekFrom::Start(offset)).map_err(Error::host(step()))?;
    // On the 64-bit hosts that have this KVM, `size` fits.
    memory.read_exact_volatile_from(GuestAddress(address), image, size as usize).map_err(Error::host(step()))
}

/// `N` bytes of a header, for `from_le_bytes`. Those beyond its end are zero.
pub(super) fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes.get(at + i).copied().unwrap_or(0))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::layout::LOW_END;
    use proptest::prelude::*;
    use std::io::Cursor;

    /// Guest memory of `mib`.
    pub fn memory(mib: u64) -> GuestMemoryMmap {
        assert!(mib << 20 <= LOW_END);
        crate::memory::map(mib << 20).unwrap()
    }

    /// The message of a request error.
    pub fn refusal<T: fmt::Debug>(result: Result<T>) -> String {
        match result {
            Err(Error::Request(why)) => why,
            other => panic!("expected a request error: {other:?}"),
        }
    }

    fn all(memory: &GuestMemoryMmap) -> Vec<u8> {
        let mut bytes = vec![0; low_end(memory) as usize];
        memory.read_slice(&mut bytes, GuestAddress(0)).unwrap();
        bytes
    }

    /// Loads whatever it is; nothing outside of what the kernel claims may change.
    fn torture(bytes: &[u8]) -> std::result::Result<(), TestCaseError> {
        let memory = memory(3);
        let claimed = match load(&memory, &mut Cursor::new(bytes), Protocol::Auto) {
            Ok(kernel) => kernel.range,
            // All is checked before anything is written.
            Err(_) => HIGH_RAM..HIGH_RAM,
        };
        prop_assert!(HIGH_RAM <= claimed.start && claimed.start <= claimed.end && claimed.end <= low_end(&memory));
        let (all, claimed) = (all(&memory), claimed.start as usize..claimed.end as usize);
        let zeros = vec![0; all.len()];
        prop_assert!(all[..claimed.start] == zeros[..claimed.start]);
        prop_assert!(all[claimed.end..] == zeros[claimed.end..]);
        Ok(())
    }

    /// A mutation: what a fuzzer finds worth trying at a place of a header.
    fn mutation() -> impl Strategy<Value = (prop::sample::Index, Vec<u8>)> {
        let values = prop_oneof![
            any::<u64>(),
            Just(0),
            Just(u64::MAX),
            Just(i64::MAX as u64),
            Just(u64::from(u32::MAX)),
            Just(HIGH_RAM),
            (0_u64..0x1000),
        ];
        let sizes = prop::sample::select(vec![1_usize, 2, 4, 8]);
        (any::<prop::sample::Index>(), values, sizes)
            .prop_map(|(at, value, size)| (at, value.to_le_bytes()[..size].to_vec()))
    }

    fn mutated(mut bytes: Vec<u8>, header: usize, mutations: &[(prop::sample::Index, Vec<u8>)]) -> Vec<u8> {
        for (at, value) in mutations {
            let at = at.index(header);
            let end = bytes.len().min(at + value.len());
            bytes[at..end].copy_from_slice(&value[..end - at]);
        }
        bytes
    }

    proptest! {
        #[test]
        fn no_elf_file_harms(mutations in prop::collection::vec(mutation(), 0..6), cut in any::<prop::sample::Index>()) {
            let bytes = elf::sample::kernel();
            let header = elf::sample::HEADERS;
            let mut bytes = mutated(bytes, header, &mutations);
            torture(&bytes)?;
            bytes.truncate(cut.index(bytes.len()));
            torture(&bytes)?;
        }

        #[test]
        fn no_bzimage_harms(mutations in prop::collection::vec(mutation(), 0..6), cut in any::<prop::sample::Index>()) {
            let mut bytes = mutated(bzimage::sample::kernel(), bzimage::HEADER_END, &mutations);
            torture(&bytes)?;
            bytes.truncate(cut.index(bytes.len()));
            torture(&bytes)?;
        }

        #[test]
        fn no_other_file_harms(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            torture(&bytes)?;
        }
    }

    #[test]
    fn what_is_no_kernel_is_named() {
        let load = |bytes: &[u8]| refusal(load(&memory(4), &mut Cursor::new(bytes), Protocol::Auto));
        assert!(load(b"").starts_with("an empty file, expected a kernel"));
        assert!(load(b"\x1f\x8b\x08").contains("begins with [1f, 8b, 08]"));
        assert!(load(&[7; 5000]).contains("a file of 5000 bytes"));
    }
}
