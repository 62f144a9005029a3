//! Suites: tests and loads that others wrote, by their names in a matrix. Unlike our own workloads they run in a root
//! file system, which the machine has as a read-only disk.

/// Where PID 1 mounts a suite's root.
pub const ROOT_PATH: &str = "/suites";

/// How long each stressor of stress-ng runs if nobody says, in seconds.
const STRESSOR_SECONDS: u32 = 8;

/// How many objects a kernel build compiles if nobody says.
const OBJECTS: u32 = 64;

/// The most objects that a kernel build can compile: the root has no more.
pub const MAX_OBJECTS: u32 = 300;

/// The classes that stress-ng sorts its stressors into.
const CLASSES: &[&str] = &[
    "cpu",
    "cpu-cache",
    "device",
    "filesystem",
    "gpu",
    "interrupt",
    "io",
    "memory",
    "network",
    "os",
    "pipe",
    "scheduler",
    "security",
    "vm",
];

/// A suite, and what of it is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suite {
    /// stress-ng: the stressors of a class, one after the other.
    StressNg {
        /// The class.
        class: String,
        /// How long each stressor runs.
        seconds: u32,
    },
    /// Kernel objects compiled by gcc.
    Kbuild {
        /// How many in each build.
        objects: u32,
    },
    /// The memory-management selftests of the kernel under test.
    Kselftest {
        /// Which, by their programs' names; all, if there are none here.
        tests: Vec<String>,
        /// Which of all are left out.
        but: Vec<String>,
    },
}

/// A suite's root file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// Made from Debian's packages.
    Debian,
    /// Made from the tree under test.
    Selftests,
}

impl Suite {
    /// Names, what may follow them, and a line about each.
    pub const TABLE: &[(&str, &str, &str)] = &[
        ("stress-ng", "[:CLASS[=SECONDS]]", "stress-ng's stressors of a class (vm), one after the other"),
        (
            "kbuild",
            "[:OBJECTS]",
            "gcc builds kernel objects, two builds at a time, under swap; each must be as it should",
        ),
        (
            "kselftest",
            "[:TEST,...|:-TEST,...]",
            "the memory-management selftests of the kernel under test, or all but some",
        ),
    ];

    /// The suite that a workload's name stands for; `None` if it is no suite's.
    ///
    /// # Errors
    /// One line: what stands after the suite's name is not what it takes.
    pub fn parse(workload: &str) -> Option<Result<Self, String>> {
        let (name, rest) = match workload.split_once(':') {
            Some((name, rest)) => (name, Some(rest)),
            None => (workload, None),
        };
        match name {
            "stress-ng" => Some(Self::stress_ng(rest.unwrap_or("vm"))),
            "kbuild" => {
                Some(number(rest, OBJECTS, MAX_OBJECTS, "kbuild: objects").map(|objects| Self::Kbuild { objects }))
            }
            "kselftest" => Some(Self::kselftest(rest)),
            _ => None,
        }
    }

    fn stress_ng(rest: &str) -> Result<Self, String> {
        let (class, seconds) = rest.split_once('=').map_or((rest, None), |(class, seconds)| (class, Some(seconds)));
        if !CLASSES.contains(&class) {
            return Err(format!("stress-ng: there is no class '{class}', expected one of {}", CLASSES.join(" ")));
        }
        let seconds = number(seconds, STRESSOR_SECONDS, 3600, "stress-ng: seconds")?;
        Ok(Self::StressNg { class: class.to_owned(), seconds })
    }

    fn kselftest(rest: Option<&str>) -> Result<Self, String> {
        let names: Vec<&str> = rest.map(|rest| rest.split(',').collect()).unwrap_or_default();
        let (but, tests): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| name.starts_with('-'));
        let but: Vec<_> = but.into_iter().map(|name| &name[1..]).collect();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let odd = |test: &&&str| test.is_empty() || test.starts_with(['.', '-']) || !test.chars().all(plain);
        if let Some(test) = tests.iter().chain(&but).find(odd) {
            return Err(format!("kselftest: '{test}', expected the names of tests, as in kselftest:khugepaged"));
        }
        if !tests.is_empty() && !but.is_empty() {
            return Err(format!(
                "kselftest: '{}' and '-{}', expected tests to run or tests to leave out",
                tests[0], but[0]
            ));
        }
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        Ok(Self::Kselftest { tests: owned(tests), but: owned(but) })
    }

    /// The root that it runs in.
    pub fn root(&self) -> Root {
        match self {
            Self::StressNg { .. } | Self::Kbuild { .. } => Root::Debian,
            Self::Kselftest { .. } => Root::Selftests,
        }
    }
}

fn number(text: Option<&str>, default: u32, most: u32, what: &str) -> Result<u32, String> {
    let Some(text) = text else { return Ok(default) };
    // One spelling, or one point of a matrix would be two cells.
    let canonical = |n: &u32| (1..=most).contains(n) && n.to_string() == text;
    text.parse().ok().filter(canonical).ok_or_else(|| format!("{what}: '{text}', expected a number from 1 to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_alone_has_defaults() {
        let suite = |name: &str| Suite::parse(name).unwrap().unwrap();
        assert_eq!(suite("stress-ng"), Suite::StressNg { class: "vm".into(), seconds: 8 });
        assert_eq!(suite("stress-ng:memory=2"), Suite::StressNg { class: "memory".into(), seconds: 2 });
        assert_eq!(suite("kbuild:6"), Suite::Kbuild { objects: 6 });
        assert_eq!(suite("kselftest"), Suite::Kselftest { tests: vec![], but: vec![] });
        assert_eq!(suite("kselftest:-a,-b"), Suite::Kselftest { tests: vec![], but: vec!["a".into(), "b".into()] });
        assert_eq!(suite("kselftest:a,b_c").root(), Root::Selftests);
        assert_eq!(Suite::parse("kbuild-lite"), None);
        for (name, ..) in Suite::TABLE {
            assert!(Suite::parse(name).unwrap().is_ok(), "{name}");
        }
    }

    #[test]
    fn what_a_suite_does_not_take_is_told() {
        let refuse = |name: &str| Suite::parse(name).unwrap().unwrap_err();
        assert!(refuse("stress-ng:vn").starts_with("stress-ng: there is no class 'vn', expected one of cpu "));
        assert!(refuse("stress-ng:vm=0").ends_with("'0', expected a number from 1 to 3600"));
        assert!(refuse("kbuild:007").ends_with("expected a number from 1 to 300"));
        assert!(refuse("kselftest:").contains("expected the names of tests"));
        assert!(refuse("kselftest:../x").contains("'../x'"));
        assert!(refuse("kselftest:-").contains("expected the names of tests"));
        assert!(refuse("kselftest:a,-b").starts_with("kselftest: 'a' and '-b', expected"));
    }
}
