//! Where a matrix's kernel comes from, and what builds it.

use super::text::parsed_from_str;
use super::{is_plain_name, Kernel};
use crate::git::split_revision;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a kernel comes from. Paths are as written: relative to the matrix, or below the home folder (`~/`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSpec {
    /// `debian:PACKAGE`: the tarball that Debian's source package of that name installs under /usr/src.
    Debian(String),
    /// `tarball:PATH`: a kernel release, or any archive of a kernel tree that tar(1) unpacks.
    Tarball(PathBuf),
    /// `git:PATH@REVISION`: a revision in a git repository, which is only read.
    Git {
        /// The repository, or a work tree of it.
        repository: PathBuf,
        /// Whatever `git rev-parse` knows.
        revision: String,
    },
    /// `tree:PATH`: a kernel tree as it is now, which is only read.
    Tree(PathBuf),
    /// `image:PATH`: a bzImage that somebody else built. Nothing is built, so there are no series and no fragments.
    Image(PathBuf),
}

/// What the forms are, for error messages.
const FORMS: &str = "expected debian:PACKAGE, tarball:PATH, git:PATH@REVISION, tree:PATH or image:PATH";

impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Debian(package) => write!(f, "debian:{package}"),
            Self::Tarball(path) => write!(f, "tarball:{}", path.display()),
            Self::Git { repository, revision } => write!(f, "git:{}@{revision}", repository.display()),
            Self::Tree(path) => write!(f, "tree:{}", path.display()),
            Self::Image(path) => write!(f, "image:{}", path.display()),
        }
    }
}

impl FromStr for SourceSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("kernel source '{text}'{what}, {FORMS}"));
        let Some((kind, rest)) = text.split_once(':') else { return wrong("") };
        match kind {
            "debian" | "tarball" | "git" | "tree" | "image" if rest.is_empty() => wrong(" names nothing"),
            // The package names a file under /usr/src, so it must not walk elsewhere.
            "debian" if is_plain_name(rest) => Ok(Self::Debian(rest.to_owned())),
            "debian" => wrong(" is no package's name"),
            "tarball" => Ok(Self::Tarball(rest.into())),
            "git" => match split_revision(rest) {
                Some((path, revision)) => Ok(Self::Git { repository: path.into(), revision: revision.to_owned() }),
                None => wrong(" names no revision"),
            },
            "tree" => Ok(Self::Tree(rest.into())),
            "image" => Ok(Self::Image(rest.into())),
            _ => wrong(""),
        }
    }
}
parsed_from_str!(
    SourceSpec,
    "debian:PACKAGE, tarball:PATH, git:PATH@REVISION, tree:PATH or image:PATH",
    "^(debian|tarball|git|tree|image):.+$"
);

/// The compiler and its tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Toolchain {
    /// gcc and GNU ld.
    #[default]
    Gcc,
    /// clang, lld and LLVM's binary tools: the kernel's `LLVM=1`.
    Clang,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gcc => "gcc",
            Self::Clang => "clang",
        })
    }
}

impl FromStr for Toolchain {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "gcc" => Ok(Self::Gcc),
            "clang" => Ok(Self::Clang),
            _ => Err(format!("toolchain '{text}', expected gcc or clang")),
        }
    }
}
parsed_from_str!(Toolchain, "gcc or clang", "^(gcc|clang)$");

impl Kernel {
    /// What a cell's identity takes of it: how it is written, without its fragments.
    pub fn meaning(&self) -> String {
        let mut meaning = self.source.to_string();
        if self.toolchain != Toolchain::default() {
            meaning.push_str(&format!(" {}", self.toolchain));
        }
        if let Some(modules) = &self.modules {
            meaning.push_str(&format!(" modules {}", modules.display()));
        }
        meaning
    }

    /// Checks that its keys go together; `series`: the matrix has some.
    ///
    /// # Errors
    /// Which key, and why not.
    pub fn check(&self, series: bool) -> Result<(), String> {
        let SourceSpec::Image(_) = self.source else {
            let only = |key| Err(format!("kernel.{key}: only an image:PATH has one; what is built here has its own"));
            return match self {
                Self { vmlinux: Some(_), .. } => only("vmlinux"),
                Self { modules: Some(_), .. } => only("modules"),
                Self { kconfig, .. } if kconfig.is_empty() => {
                    Err("kernel.kconfig: no fragment; `tinyconfig` alone boots nowhere".to_owned())
                }
                _ => Ok(()),
            };
        };
        let none = |key, why| Err(format!("{key}: an image:PATH is not built, so {why}"));
        match self {
            Self { kconfig, .. } if !kconfig.is_empty() => none("kernel.kconfig", "its configuration is as it is"),
            Self { toolchain: Toolchain::Clang, .. } => none("kernel.toolchain", "there is nothing to choose"),
            _ if series => none("series", "no patch can be applied to it"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_has_one_spelling() {
        for text in [
            "debian:linux-source-6.1",
            "tarball:../linux-6.1.tar.xz",
            "git:~/src/linux@v6.1",
            "git:me@work/linux@HEAD@{1}",
            "tree:/usr/src/linux",
            "image:/boot/vmlinuz-6.1.0-56-amd64",
        ] {
            assert_eq!(text.parse::<SourceSpec>().unwrap().to_string(), text);
        }
        let git: SourceSpec = "git:me@work/linux@HEAD@{1}".parse().unwrap();
        assert_eq!(git, SourceSpec::Git { repository: "me@work/linux".into(), revision: "HEAD@{1}".into() });
    }

    #[test]
    fn any_other_is_told_what_was_expected() {
        let refuse = |text: &str| text.parse::<SourceSpec>().unwrap_err();
        let all = ["linux", "hg:linux", "git:linux", "git:linux@--output=x", "tree:", "debian:../x"].map(refuse);
        insta::assert_snapshot!(all.join("\n"), @"
        kernel source 'linux', expected debian:PACKAGE, tarball:PATH, git:PATH@REVISION, tree:PATH or image:PATH
        kernel source 'hg:linux', expected debian:PACKAGE, tarball:PATH, git:PATH@REVISION, tree:PATH or image:PATH
        kernel source 'git:linux' names no revision, expected debian:PACKAGE, tarball:PATH, git:PATH@REVISION, tree:PATH or image:PATH
        kernel source 'git:linux@--output=x' names no revision, expected debian:PACKAGE, tarball:PATH, git:PATH@REVISION, tree:PATH or image:PATH
        kernel source 'tree:' names nothing, expected debian:PACKAGE, tarball:PATH, git:PATH@REVISION, tree:PATH or image:PATH
        kernel source 'debian:../x' is no package's name, expected debian:PACKAGE, tarball:PATH, git:PATH@REVISION, tree:PATH or image:PATH
        ");
    }
}
