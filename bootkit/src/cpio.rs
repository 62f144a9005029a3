//! Writing a cpio archive, the form that an initramfs has.
//!
//! Format: Documentation/driver-api/early-userspace/buffer-format.rst, the "newc" one.

/// S_IFDIR | 0755, S_IFREG | 0755, S_IFREG | 0644, S_IFCHR | 0600 (inode(7)).
const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;
const DEVICE: u32 = 0o020_600;

/// A cpio archive being written. Deterministic: no times, no owners, inodes counted.
#[derive(Debug, Default)]
pub struct Cpio {
    bytes: Vec<u8>,
    inode: u32,
}

impl Cpio {
    /// Adds a folder. Parents come first.
    pub fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY, (0, 0), &[]);
    }

    /// Adds an executable file.
    pub fn program(&mut self, path: &str, content: &[u8]) {
        self.entry(path, PROGRAM, (0, 0), content);
    }

    /// Adds a plain file.
    pub fn file(&mut self, path: &str, content: &[u8]) {
        self.entry(path, FILE, (0, 0), content);
    }

    /// Adds a character device.
    pub fn device(&mut self, path: &str, major: u32, minor: u32) {
        self.entry(path, DEVICE, (major, minor), &[]);
    }

    /// The archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        let name = path.trim_start_matches('/');
        self.inode += 1;
        let size = u32::try_from(content.len()).expect("an initramfs file is far below 4 GiB");
        let name_size = u32::try_from(name.len() + 1).expect("a path is short");
        let links = if mode == DIRECTORY { 2 } else { 1 };
        // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
        let fields = [self.inode, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Headers and contents begin at multiples of four.
    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn an_archive_is_aligned_and_the_same_every_time() {
        let make = || {
            let mut cpio = Cpio::default();
            cpio.directory("/dev");
            cpio.device("/dev/console", 5, 1);
            cpio.file("/odd", b"12345");
            cpio.finish()
        };
        assert_eq!(make(), make());
        assert_eq!(make().len() % 4, 0);
        assert!(make().starts_with(b"070701"));
    }

    /// cpio(1) reads what we write.
    #[test]
    fn cpio_lists_it() {
        let mut cpio = Cpio::default();
        cpio.directory("/bin");
        cpio.program("/bin/x", b"#!/bin/true\n");
        cpio.device("/console", 5, 1);
        let spawned = Command::new("cpio")
            .args(["--list", "--verbose", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = spawned else {
            eprintln!("skipped: cpio is not installed (`make setup` installs it)");
            return;
        };
        child.stdin.take().unwrap().write_all(&cpio.finish()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("drwxr-xr-x") && lines[0].ends_with("bin"), "{text}");
        assert!(lines[1].starts_with("-rwxr-xr-x") && lines[1].contains(" 12 "), "{text}");
        assert!(lines[2].starts_with("crw-------") && lines[2].contains("5,"), "{text}");
    }
}
