//! Knobs: written, and believed only once they are read back.

use mmtorture_protocol::{EventKind, Knob};
use std::io;
use std::path::Path;

/// Writes one knob, reads it back, and says how it went.
pub fn turn(knob: &Knob) -> EventKind {
    let wrote = knob.write.as_deref().map_or(Ok(()), |value| write(&knob.path, value));
    let shown = knob.want.as_ref().map(|_| std::fs::read_to_string(&knob.path));
    judge(knob, wrote, shown)
}

/// Writes to a file of the kernel's.
///
/// # Errors
/// It is not there, or refuses the value. The plain open of std::fs::write would make a file that a tmpfs lacks.
pub fn write(path: impl AsRef<Path>, value: &str) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).open(path)?;
    io::Write::write_all(&mut file, value.as_bytes())
}

/// What is to be said of something that was asked for.
pub fn told(dimension: &str, path: &str, asked: &str, got: &str, error: Option<String>) -> EventKind {
    EventKind::Knob {
        dimension: dimension.to_owned(),
        path: path.to_owned(),
        asked: asked.to_owned(),
        got: got.to_owned(),
        error,
    }
}

/// Where a kernel lists its NUMA nodes (Documentation/ABI/stable/sysfs-devices-node).
const NODES: &str = "/sys/devices/system/node/online";

/// Says whether the kernel found as many NUMA nodes as the machine has.
pub fn nodes(count: u32) -> EventKind {
    let asked = format!("0-{}", count.saturating_sub(1));
    let shown = std::fs::read_to_string(NODES).map(|text| text.trim().to_owned());
    let error = match &shown {
        Err(error) => Some(format!("cannot be read: {error}; does the kernel have CONFIG_ACPI_NUMA=y?")),
        Ok(got) => (*got != asked).then(|| format!("the kernel shows nodes {got:?}")),
    };
    told("numa", NODES, &asked, &shown.unwrap_or_default(), error)
}

fn judge(knob: &Knob, wrote: io::Result<()>, shown: Option<io::Result<String>>) -> EventKind {
    let path = &knob.path;
    let asked = knob.want.as_deref().or(knob.write.as_deref()).unwrap_or_default();
    let tell = |got: &str, error: Option<String>| told(&knob.dimension, path, asked, got, error);
    let missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let absent = wrote.as_ref().err().or(shown.as_ref().and_then(|s| s.as_ref().err())).is_some_and(missing);
    if absent {
        return match knob.or_absent {
            true => tell("absent", None),
            false => tell("", Some(format!("the kernel has no {path}"))),
        };
    }
    if let Err(error) = wrote {
        let value = knob.write.as_deref().unwrap_or_default();
        return tell("", Some(format!("{path} does not take {value:?}: {error}")));
    }
    let Some(want) = &knob.want else { return tell("", None) };
    match shown {
        Some(Ok(text)) => match knob.shows.found(&text, want) {
            Some(got) if knob.shows.agrees(got, want) => tell(got, None),
            Some(got) => tell(got, Some(format!("{path} shows {got:?}"))),
            None => tell("", Some(format!("{path} marks no choice in {:?}", text.trim()))),
        },
        Some(Err(error)) => tell("", Some(format!("{path} cannot be read: {error}"))),
        None => tell("", Some(format!("{path} was not read"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mmtorture_protocol::Shows;

    fn knob(shows: Shows) -> Knob {
        let text = || Some("always".to_owned());
        Knob {
            dimension: "thp".into(),
            path: "/nowhere/enabled".into(),
            write: text(),
            want: text(),
            shows,
            or_absent: false,
        }
    }

    fn refused(kind: io::ErrorKind) -> io::Error {
        io::Error::from(kind)
    }

    fn judged(knob: &Knob, wrote: io::Result<()>, shown: io::Result<&str>) -> (String, Option<String>) {
        let EventKind::Knob { got, error, .. } = judge(knob, wrote, Some(shown.map(str::to_owned))) else { panic!() };
        (got, error)
    }

    #[test]
    fn a_knob_that_shows_its_value_is_in_force() {
        let bracketed = judged(&knob(Shows::Bracketed), Ok(()), Ok("[always] madvise never\n"));
        assert_eq!(bracketed, ("always".into(), None));
        assert_eq!(judged(&knob(Shows::Plain), Ok(()), Ok("always\n")), ("always".into(), None));
        let unreadable = Knob { want: None, ..knob(Shows::Plain) };
        let EventKind::Knob { asked, error, .. } = judge(&unreadable, Ok(()), None) else { panic!() };
        assert_eq!((asked.as_str(), error), ("always", None));
    }

    #[test]
    fn every_other_outcome_is_an_error_that_says_so() {
        let error = |shows, wrote, shown| judged(&knob(shows), wrote, shown).1.unwrap();
        assert!(error(Shows::Bracketed, Ok(()), Ok("always [madvise] never")).contains("shows \"madvise\""));
        assert!(error(Shows::Bracketed, Ok(()), Ok("always")).contains("marks no choice"));
        let invalid = || Err(refused(io::ErrorKind::InvalidInput));
        assert!(error(Shows::Plain, invalid(), Ok("always")).contains("/nowhere/enabled does not take \"always\""));
        let denied = Err(refused(io::ErrorKind::PermissionDenied));
        assert!(error(Shows::Plain, Ok(()), denied).contains("cannot be read"));
    }

    #[test]
    fn a_file_that_is_not_there_is_not_made_and_is_named() {
        let EventKind::Knob { error, got, .. } = turn(&knob(Shows::Plain)) else { panic!() };
        assert_eq!((got.as_str(), error.as_deref()), ("", Some("the kernel has no /nowhere/enabled")));
        let EventKind::Knob { error, got, .. } = turn(&Knob { or_absent: true, ..knob(Shows::Plain) }) else {
            panic!()
        };
        assert_eq!((got.as_str(), error), ("absent", None));
    }
}
