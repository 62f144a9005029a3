//! A command for the bed, and what came of it.

use crate::wire::Run;
use std::process::ExitStatus;
use std::time::Duration;

/// What a command inherits of this process's environment: what says where things are. The rest is the host's business.
const INHERITED: &[&str] = &["PATH", "HOME", "USER", "LANG", "TERM", "XDG_CACHE_HOME", "NO_COLOR"];

/// How long a command may take if nobody says otherwise.
const LIMIT: Duration = Duration::from_secs(120);

/// A command to run in the bed.
#[derive(Debug, Clone)]
pub struct Job {
    pub(crate) run: Run,
    pub(crate) limit: Duration,
}

impl Job {
    /// A program, looked for along PATH, with arguments. It runs as root, in this process's working directory, with its
    /// PATH, HOME and the like, and nothing on standard input.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        let env = INHERITED.iter().filter_map(|&name| Some((name.to_owned(), std::env::var(name).ok()?)));
        let cwd = std::env::current_dir().ok().and_then(|path| path.into_os_string().into_string().ok());
        Self {
            run: Run {
                argv: argv.into_iter().map(Into::into).collect(),
                env: env.collect(),
                cwd: cwd.unwrap_or_else(|| "/".to_owned()),
            },
            limit: LIMIT,
        }
    }

    /// A command line for /bin/sh.
    pub fn shell(line: &str) -> Self {
        Self::new(["/bin/sh", "-c", line])
    }

    /// Adds to its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.run.env.retain(|(known, _)| known != name);
        self.run.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets its working directory.
    #[must_use]
    pub fn cwd(mut self, folder: &str) -> Self {
        folder.clone_into(&mut self.run.cwd);
        self
    }

    /// After this long it is killed, with all that it started. Two minutes if not set.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }
}

/// Where a command printed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What came of a command.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended. 127 and a word on stderr if it could not be started.
    pub status: ExitStatus,
    /// All that it printed.
    pub stdout: Vec<u8>,
    /// All that it printed on standard error.
    pub stderr: Vec<u8>,
    /// From its start to its end, by the guest's clock.
    pub elapsed: Duration,
    /// Whether it was killed because its time was up.
    pub timed_out: bool,
}

impl Output {
    /// Standard output as text.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}
