//! What was seen when, over all runs of a results folder: an index in SQLite, beside the runs.
//!
//! The runs' folders are the truth. The index is made from them, can be thrown away at any time, and is brought up to
//! date before it is asked: a run that it lacks, or that went on since, is read. A run whose folder is gone stays in it.
//! An index that is damaged, or of another version, is made anew; one that cannot be written (a read-only folder, a
//! lock that is not given back) is replaced by one in memory. A run never fails over it.

mod question;
mod store;
mod told;

pub use question::{Over, Overview, Sighting, Signature, Variant, When};
pub use told::{Night, Ran};

use crate::error::Result;
use crate::plan::Cell;
use crate::record::{self, Header, Run};
use crate::trial::Trial;
use anyhow::Context;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file, in the results folder.
pub const FILE: &str = "history.sqlite";

/// How long somebody else's write is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The index.
#[derive(Debug)]
pub struct History {
    db: Connection,
}

impl History {
    /// The index over the runs in `results`, up to date.
    ///
    /// # Errors
    /// `results` cannot be read.
    pub fn open(results: &Path) -> Result<Self> {
        let path = results.join(FILE);
        let opened = Self::at(&path).and_then(|mut history| history.sync(results).map(|()| history));
        match opened {
            Ok(history) => Ok(history),
            Err(Trouble::Runs(e)) => Err(e),
            Err(Trouble::Damaged(e)) => {
                tracing::warn!("{}: {e}: made anew", path.display());
                Self::rebuild(results)
            }
            Err(Trouble::Store(e)) => {
                tracing::warn!("{}: {e}: not used", path.display());
                Self::in_memory(results)
            }
        }
    }

    /// Makes the index anew from the runs that there are, beside the old one, which it replaces when it is whole.
    ///
    /// # Errors
    /// `results` cannot be read.
    pub fn rebuild(results: &Path) -> Result<Self> {
        let made = Self::beside(results);
        match made {
            Ok(history) => Ok(history),
            Err(Trouble::Runs(e)) => Err(e),
            Err(Trouble::Damaged(e) | Trouble::Store(e)) => {
                tracing::warn!("{}: {e}: not written", results.join(FILE).display());
                Self::in_memory(results)
            }
        }
    }

    /// Adds one run. What goes wrong is a warning: the next [`Self::open`] makes up for it.
    pub fn note(run: &Run) {
        let Some(results) = run.dir.parent() else { return };
        let path = results.join(FILE);
        let noted = Self::at(&path).and_then(|mut history| history.add(std::slice::from_ref(run)));
        match noted {
            Ok(()) => {}
            Err(Trouble::Damaged(e)) => {
                tracing::warn!("{}: {e}: made anew when it is asked", path.display());
                drop(std::fs::remove_file(&path));
            }
            Err(Trouble::Store(e)) => tracing::warn!("{}: {e}: this run is added later", path.display()),
            Err(Trouble::Runs(e)) => tracing::warn!("the history lacks this run: {e}"),
        }
    }

    fn beside(results: &Path) -> std::result::Result<Self, Trouble> {
        let half =
            tempfile::Builder::new().prefix(".new-").suffix(".sqlite").tempfile_in(results).map_err(Trouble::io)?;
        let path = half.path().to_owned();
        let mut history = Self::at(&path)?;
        history.sync(results)?;
        drop(history);
        half.persist(results.join(FILE)).map_err(|e| Trouble::io(e.error))?;
        // `tempfile` makes it for its owner alone.
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(results.join(FILE), readable).map_err(Trouble::io)?;
        // An old journal beside the name would be played back into the new file.
        for suffix in ["-journal", "-wal", "-shm"] {
            drop(std::fs::remove_file(results.join(format!("{FILE}{suffix}"))));
        }
        Self::at(&results.join(FILE))
    }

    fn in_memory(results: &Path) -> Result<Self> {
        let make = || {
            let mut history = Self::with(Connection::open_in_memory()?)?;
            history.sync(results)?;
            Ok(history)
        };
        make().map_err(Trouble::into_error)
    }

    fn at(path: &Path) -> std::result::Result<Self, Trouble> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Self::with(Connection::open_with_flags(path, flags)?)
    }

    fn with(db: Connection) -> std::result::Result<Self, Trouble> {
        db.busy_timeout(PATIENCE)?;
        store::prepare(&db)?;
        Ok(Self { db })
    }

    /// Reads the runs that the index lacks, and those that have changed since.
    fn sync(&mut self, results: &Path) -> std::result::Result<(), Trouble> {
        let known = store::known(&self.db)?;
        let mut new = Vec::new();
        for run in record::folders(results).map_err(Trouble::Runs)? {
            let id = run.dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if known.get(&id) != Some(&store::stamp(&run)) {
                new.push(run);
            }
        }
        self.add(&new)
    }

    /// Puts in a run that the caller has read, in place of what was there of it.
    ///
    /// # Errors
    /// The index cannot be written.
    pub fn put(&mut self, run: &Run, header: &Header, cells: &[Cell], trials: &[Trial]) -> Result<()> {
        let mut put = || {
            let transaction = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            store::put(&transaction, &store::stamp(run), header, cells, trials)?;
            Ok(transaction.commit()?)
        };
        put().map_err(Trouble::into_error)
    }

    /// A run that cannot be read is passed over: one damaged folder must not hide the others.
    fn add(&mut self, runs: &[Run]) -> std::result::Result<(), Trouble> {
        for some in runs.chunks(64) {
            let transaction = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            for run in some {
                let read = || -> Result<_> { Ok((run.header()?, run.cells()?, run.trials()?)) };
                match read() {
                    Ok((header, cells, trials)) => {
                        let trials: Vec<_> = trials.into_iter().map(|(_, trial)| trial).collect();
                        store::put(&transaction, &store::stamp(run), &header, &cells, &trials)?;
                    }
                    Err(e) => tracing::warn!("the history passes over {}: {e}", run.dir.display()),
                }
            }
            transaction.commit()?;
        }
        Ok(())
    }
}

/// What can go wrong, by what is to be done.
#[derive(Debug)]
enum Trouble {
    /// The index is no index of this version.
    Damaged(anyhow::Error),
    /// It cannot be opened, locked or written.
    Store(anyhow::Error),
    /// The runs cannot be read.
    Runs(crate::error::Error),
}

impl Trouble {
    fn io(e: std::io::Error) -> Self {
        Self::Store(e.into())
    }

    fn into_error(self) -> crate::error::Error {
        match self {
            Self::Runs(e) => e,
            Self::Damaged(e) | Self::Store(e) => e.into(),
        }
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(e: rusqlite::Error) -> Self {
        match &e {
            rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
                // `Unknown` is SQLITE_ERROR: a table or column that is not there.
                ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::Unknown | ErrorCode::TypeMismatch => {
                    Self::Damaged(e.into())
                }
                _ => Self::Store(e.into()),
            },
            rusqlite::Error::SqlInputError { .. }
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::FromSqlConversionFailure(..) => Self::Damaged(e.into()),
            _ => Self::Store(e.into()),
        }
    }
}

/// Where the index over `results` is.
pub fn path(results: &Path) -> PathBuf {
    results.join(FILE)
}

impl History {
    /// All signatures, those seen last first.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn signatures(&self) -> Result<Vec<Signature>> {
        Ok(question::signatures(&self.db).context("the history cannot be read")?)
    }

    /// The signatures that `text` means: those that are it, or whose title is; else those that hold it.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn matching(&self, text: &str) -> Result<Vec<String>> {
        Ok(question::matching(&self.db, text).context("the history cannot be read")?)
    }

    /// When a signature was seen.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn when(&self, signature: &str) -> Result<Option<When>> {
        Ok(question::when(&self.db, signature).context("the history cannot be read")?)
    }

    /// All signatures over the newest `most` runs.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn overview(&self, most: usize) -> Result<Overview> {
        Ok(question::overview(&self.db, most).context("the history cannot be read")?)
    }
}
