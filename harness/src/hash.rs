//! Content addresses: SHA-256 in hexadecimal, over fields that cannot run into each other.

use sha2::{Digest, Sha256};
use std::io::{self, Read};

/// A hash over a sequence of fields. Each is preceded by its length, so `ab`+`c` and `a`+`bc` differ.
#[derive(Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// An empty hash, told apart from other kinds by `domain`.
    pub fn new(domain: &str) -> Self {
        Self::default().field(domain)
    }

    /// Adds one field.
    #[must_use]
    pub fn field(mut self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// The 64 hexadecimal digits.
    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

/// The hash of all that `reader` yields.
pub fn of_reader(mut reader: impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

/// The first 12 digits: enough to name things for people (48 bits), not to address them.
pub fn short(hash: &str) -> &str {
    &hash[..hash.len().min(12)]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_run_into_each_other() {
        let a = Hasher::new("t").field("ab").field("c").finish();
        let b = Hasher::new("t").field("a").field("bc").finish();
        assert_ne!(a, b);
        assert_eq!(a.len(), 64);
    }

    #[test]
    fn a_reader_hashes_as_sha256sum_does() {
        let want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of_reader(&b"abc"[..]).unwrap(), want);
    }
}
