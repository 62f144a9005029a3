//! Dimensions that a matrix brings along, checked as strictly as the built-in ones.
//!
//! While a matrix is read, [`scope`] makes its own known to [`super::find`], so that they are as good as any wherever a
//! dimension is named.

use super::part::{write_as, Part};
use super::{all, Acts, Dimension, Settings};
use crate::build::kconfig;
use crate::matrix::text::{parsed_from_str, Scalar};
use mmtorture_protocol::Shows;
use schemars::JsonSchema;
use serde::Deserialize;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::str::FromStr;

/// The dimensions that a matrix defines, by name.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct Define(pub BTreeMap<Name, Definition>);

/// One of them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// What it is about, for people.
    #[serde(default)]
    pub about: String,
    /// Its settings by name.
    pub settings: BTreeMap<Word, Doing>,
}

/// What a setting does; an empty one does nothing, as where a parameter is not given.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Doing {
    /// Build: lines of a Kconfig fragment, which the final .config must have.
    #[serde(default)]
    pub kconfig: Vec<KconfigLine>,
    /// Boot: parameters on the kernel's command line, which /proc/cmdline must show.
    #[serde(default)]
    pub cmdline: Option<Parameters>,
    /// Run: files under /sys or /proc/sys and what is written to them, in order of their names; they must show it.
    #[serde(default)]
    pub write: BTreeMap<KernelPath, Scalar>,
    /// Run: an option of the tmpfs that the workload has its files on, which /proc/mounts must show.
    #[serde(default)]
    pub mount: Option<MountOption>,
}

/// The name of a defined dimension: `x-` and then small letters, digits and hyphens. No built-in one begins with x-.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

/// The name of a setting.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word(String);

/// A line of a Kconfig fragment: `CONFIG_NAME=value` or `# CONFIG_NAME is not set`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KconfigLine(String);

/// Parameters of the kernel's command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters(String);

/// A file under /sys or /proc/sys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelPath(String);

/// An option of a tmpfs, as mount(8) takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOption(String);

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("x-").unwrap_or_default();
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !rest.is_empty() && rest.len() <= 40 && rest.chars().all(legal) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "dimension '{text}', expected x- and then small letters, digits and hyphens: other names are built in"
        ))
    }
}

impl FromStr for Word {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let legal = |c: char| c.is_ascii_alphanumeric() || "-_.+:".contains(c);
        if !text.is_empty() && text.len() <= 40 && text.chars().all(legal) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("setting '{text}', expected up to 40 letters, digits and -_.+:"))
    }
}

impl FromStr for KconfigLine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if kconfig::is_setting(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("Kconfig line '{text}', expected CONFIG_NAME=value or '# CONFIG_NAME is not set'"))
    }
}

impl FromStr for Parameters {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let legal = |c: char| c.is_ascii_graphic() && c != '"' || c == ' ';
        if !text.trim().is_empty() && text.trim() == text && text.len() <= 512 && text.chars().all(legal) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("parameters '{text}', expected up to 512 printable characters without quotes"))
    }
}

impl FromStr for KernelPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("/sys/").or_else(|| text.strip_prefix("/proc/sys/")).unwrap_or_default();
        let legal = |c: char| c.is_ascii_graphic();
        let walks = |part: &str| part.is_empty() || part == "." || part == "..";
        if text.len() <= 256 && rest.chars().all(legal) && !rest.split('/').any(walks) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("file '{text}', expected one under /sys or /proc/sys, without .. and the like"))
    }
}

impl FromStr for MountOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let legal = |c: char| c.is_ascii_alphanumeric() || "-_.=%".contains(c);
        if !text.is_empty() && text.len() <= 64 && text.chars().all(legal) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("mount option '{text}', expected one as in nr_inodes=1000"))
    }
}

parsed_from_str!(Name, "the name of a dimension", "^x-[a-z0-9-]{1,40}$");
parsed_from_str!(Word, "the name of a setting", "^[A-Za-z0-9._+:-]{1,40}$");
parsed_from_str!(KconfigLine, "a line of a Kconfig fragment", "^(CONFIG_\\w+=.+|# CONFIG_\\w+ is not set)$");
parsed_from_str!(Parameters, "parameters of the kernel's command line", "^[!#-~]([ !#-~]*[!#-~])?$");
parsed_from_str!(KernelPath, "a file under /sys or /proc/sys", "^/(sys|proc/sys)/[!-~]+$");
parsed_from_str!(MountOption, "a mount option", "^[A-Za-z0-9._=%-]{1,64}$");

thread_local! {
    static DEFINED: RefCell<Vec<&'static Dimension>> = const { RefCell::new(Vec::new()) };
}

/// Runs `read` with these dimensions known.
///
/// # Errors
/// A dimension has no settings, or more than 64; or what `read` says.
pub fn scope<T, E: From<String>>(define: &Define, read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    struct Restore(Vec<&'static Dimension>);
    impl Drop for Restore {
        fn drop(&mut self) {
            DEFINED.replace(std::mem::take(&mut self.0));
        }
    }
    let dimensions = define.0.iter().map(|(name, definition)| dimension(name, definition)).collect::<Result<_, _>>()?;
    let _restore = Restore(DEFINED.replace(dimensions));
    read()
}

pub(super) fn find(name: &str) -> Option<&'static Dimension> {
    DEFINED.with_borrow(|all| all.iter().copied().find(|d| d.name == name))
}

pub(super) fn names() -> Vec<&'static str> {
    DEFINED.with_borrow(|all| all.iter().map(|d| d.name).collect())
}

/// Makes a dimension that lives as long as the program, as the built-in ones do: a program reads one matrix or two, and a
/// matrix is small.
fn dimension(name: &Name, definition: &Definition) -> Result<&'static Dimension, String> {
    if definition.settings.is_empty() || definition.settings.len() > 64 {
        return Err(format!("define: {}: {} settings, expected 1 to 64", name.0, definition.settings.len()));
    }
    debug_assert!(all().all(|d| !d.name.starts_with("x-")), "no built-in name can be taken");
    let words: Vec<(&'static str, &'static [Part])> =
        definition.settings.iter().map(|(word, doing)| (leak(&word.0), &*parts(doing).leak())).collect();
    Ok(Box::leak(Box::new(Dimension {
        name: leak(&name.0),
        about: leak(&definition.about),
        acts: Acts::AsDefined,
        settings: Settings::Words(words.leak()),
    })))
}

fn parts(doing: &Doing) -> Vec<Part> {
    let mut parts = Vec::new();
    if !doing.kconfig.is_empty() {
        let lines: Vec<&'static str> = doing.kconfig.iter().map(|line| leak(&line.0)).collect();
        parts.push(Part::Kconfig(lines.leak()));
    }
    parts.extend(doing.cmdline.iter().map(|parameters| Part::Cmdline(leak(&parameters.0))));
    parts.extend(doing.write.iter().map(|(path, value)| write_as(leak(&path.0), leak(&value.0), Shows::Either)));
    parts.extend(doing.mount.iter().map(|option| Part::Mount(leak(&option.0), false)));
    parts
}

fn leak(text: &str) -> &'static str {
    text.to_owned().leak()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Define, String> {
        serde_yaml::from_str(text).map_err(|e| e.to_string())
    }

    #[test]
    fn a_defined_dimension_is_as_good_as_any_while_its_matrix_is_read() {
        let define = read("x-pages: {settings: {few: {write: {/proc/sys/vm/page-cluster: 0}}, none: {}}}").unwrap();
        let effect = scope(&define, || super::super::find("x-pages")?.effect("few")).unwrap();
        let mut shape = super::super::Shape::default();
        shape.apply(effect);
        assert_eq!(shape.knobs[0].write.as_deref(), Some("0"));
        let error = scope(&define, || super::super::find("x-pages")?.effect("fwe")).unwrap_err();
        assert_eq!(error, "x-pages 'fwe', expected one of few none; did you mean 'few'?");
        assert!(super::super::find("x-pages").is_err());
    }

    #[test]
    fn nothing_else_can_be_written_or_asked_for() {
        for (wrong, expected) in [
            ("pages: {settings: {a: {}}}", "other names are built in"),
            ("x-a: {settings: {'a b': {}}}", "setting 'a b'"),
            ("x-a: {settings: {a: {write: {/etc/passwd: 1}}}}", "expected one under /sys or /proc/sys"),
            ("x-a: {settings: {a: {write: {/proc/sys/../kcore: 1}}}}", "expected one under /sys or /proc/sys"),
            ("x-a: {settings: {a: {write: {/proc/1/mem: 1}}}}", "expected one under /sys or /proc/sys"),
            ("x-a: {settings: {a: {kconfig: [KSM=y]}}}", "expected CONFIG_NAME=value"),
            ("x-a: {settings: {a: {cmdline: \"a\\nb\"}}}", "printable"),
            ("x-a: {settings: {a: {mount: 'huge=always,size=1'}}}", "mount option"),
            ("x-a: {settings: {a: {sysctl: 1}}}", "unknown field `sysctl`"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains(expected), "{wrong}: {error}");
        }
        let none = read("x-a: {settings: {}}").unwrap();
        assert!(scope(&none, || Ok::<_, String>(())).unwrap_err().contains("expected 1 to 64"));
    }
}
