//! Debian's packages as files: downloaded by apt-get, unpacked by dpkg-deb, installed nowhere. Needs no privilege.
//!
//! apt-get checks each file against the archive's signature, as it does for whoever installs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why there is no package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// This is no Debian, it is offline, or it knows no such package.
    Missing(String),
    /// A file could not be written or unpacked.
    Failed(String),
}

/// apt gives up root's rights for a download, and then could not write into a folder of ours.
const AS_WE_ARE: [&str; 3] = ["-qq", "-o", "APT::Sandbox::User=root"];

/// The packages that these depend on, themselves included, as if nothing was installed: the names of their files.
///
/// # Errors
/// See [`Error`]; nothing is downloaded.
pub fn closure(packages: &[&str]) -> Result<Vec<String>, Error> {
    let work = Work::new()?;
    let said = output(work.install().arg("--print-uris").args(packages))?;
    let mut names: Vec<String> = said.lines().filter_map(file_name).map(str::to_owned).collect();
    names.sort();
    if names.is_empty() {
        return Err(Error::Missing(format!("apt-get names no files for {}", packages.join(" "))));
    }
    Ok(names)
}

/// Downloads the [`closure`] of these packages into the folder `into`.
///
/// # Errors
/// See [`Error`].
pub fn download_all(packages: &[&str], into: &Path) -> Result<Vec<PathBuf>, Error> {
    let work = Work::new()?;
    std::fs::create_dir_all(into.join("partial")).map_err(|e| failed("write", into, &e))?;
    output(
        work.install()
            .arg("-o")
            .arg(format!("Dir::Cache::archives={}", into.display()))
            .arg("--download-only")
            .args(packages),
    )?;
    archives(into)
}

/// Downloads one package and nothing that it depends on into the folder `into`.
///
/// # Errors
/// See [`Error`].
pub fn download(package: &str, into: &Path) -> Result<PathBuf, Error> {
    output(apt("apt-get").args(AS_WE_ARE).args(["download", package]).current_dir(into))?;
    archives(into)?.pop().ok_or_else(|| Error::Failed(format!("{} has no package", into.display())))
}

/// What `package` depends on, as apt-cache lists it.
///
/// # Errors
/// See [`Error`].
pub fn depends(package: &str) -> Result<Vec<String>, Error> {
    let said = output(apt("apt-cache").args(["depends", package]))?;
    Ok(said.lines().filter_map(|line| line.trim().strip_prefix("Depends: ")).map(str::to_owned).collect())
}

/// Unpacks a package's files into the folder `into`. Its scripts are not run.
///
/// # Errors
/// See [`Error`].
pub fn unpack(archive: &Path, into: &Path) -> Result<(), Error> {
    output(apt("dpkg-deb").arg("-x").arg(archive).arg(into)).map(drop)
}

/// A state of apt's in which nothing is installed.
struct Work {
    status: tempfile::NamedTempFile,
}

impl Work {
    fn new() -> Result<Self, Error> {
        let status = tempfile::NamedTempFile::new().map_err(|e| failed("write", &std::env::temp_dir(), &e))?;
        Ok(Self { status })
    }

    fn install(&self) -> Command {
        let mut command = apt("apt-get");
        // The lock is of the database that nothing is written to.
        command.args(AS_WE_ARE).args(["-y", "--no-install-recommends", "-o", "Debug::NoLocking=1", "-o"]);
        command.arg(format!("Dir::State::status={}", self.status.path().display())).arg("install");
        command
    }
}

/// The file's name in a line of `--print-uris`: `'URI' NAME SIZE HASH`.
fn file_name(line: &str) -> Option<&str> {
    line.strip_prefix('\'')?.split_once("' ")?.1.split(' ').next().filter(|name| name.ends_with(".deb"))
}

fn archives(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = std::fs::read_dir(folder).map_err(|e| failed("read", folder, &e))?;
    let mut archives: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    archives.retain(|path| path.extension().is_some_and(|extension| extension == "deb"));
    archives.sort();
    Ok(archives)
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::Failed(format!("cannot {what} {}: {error}", path.display()))
}

/// What apt says is translated otherwise.
fn apt(tool: &str) -> Command {
    let mut command = Command::new(tool);
    command.env("LC_ALL", "C").stdin(Stdio::null());
    command
}

fn output(command: &mut Command) -> Result<String, Error> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::Missing(format!("{tool} is not installed: it takes a Debian")),
        _ => Error::Failed(format!("cannot start {tool}: {e}")),
    })?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::Missing(format!("{tool} failed ({}): {stderr}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_beside_its_address() {
        let line = "'http://deb.example/pool/m/make_4.3-4.1_amd64.deb' make_4.3-4.1_amd64.deb 395632 SHA256:ab";
        assert_eq!(file_name(line), Some("make_4.3-4.1_amd64.deb"));
        assert_eq!(file_name("E: no such package"), None);
    }
}
