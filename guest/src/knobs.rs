//! Knobs: written, and believed only once they are read back.

use mmtorture_protocol::{EventKind, Knob};

/// Writes one knob, reads it back, and says how it went.
pub fn turn(knob: &Knob) -> EventKind {
    // The plain open of std::fs::write would create a file that a tmpfs lacks: a knob must be there.
    let wrote = std::fs::OpenOptions::new()
        .write(true)
        .open(&knob.path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, knob.value.as_bytes()))
        .map_err(|error| error.to_string());
    let shown = std::fs::read_to_string(&knob.path).map_err(|error| error.to_string());
    judge(knob, wrote, shown.as_deref())
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
    let got = shown.unwrap_or_default();
    EventKind::Knob { dimension: "numa".to_owned(), path: NODES.to_owned(), asked, got, error }
}

fn judge(knob: &Knob, wrote: Result<(), String>, shown: Result<&str, &String>) -> EventKind {
    let (got, read_error) = match shown {
        Ok(text) => match knob.shows.current(text) {
            Some(value) => (value.to_owned(), None),
            None => (String::new(), Some(format!("no choice is bracketed in {:?}", text.trim()))),
        },
        Err(error) => (String::new(), Some(format!("cannot be read back: {error}"))),
    };
    let error = match wrote {
        Err(error) => Some(format!("cannot be written: {error}")),
        Ok(()) => read_error.or_else(|| (got != knob.value).then(|| format!("shows {got:?} after the write"))),
    };
    EventKind::Knob {
        dimension: knob.dimension.clone(),
        path: knob.path.clone(),
        asked: knob.value.clone(),
        got,
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mmtorture_protocol::Shows;

    fn knob(shows: Shows) -> Knob {
        Knob { dimension: "thp".into(), path: "/nowhere/enabled".into(), value: "always".into(), shows }
    }

    fn judged(shows: Shows, wrote: Result<(), &str>, shown: Result<&str, &str>) -> (String, Option<String>) {
        let event = judge(&knob(shows), wrote.map_err(Into::into), shown.map_err(String::from).as_ref().copied());
        let EventKind::Knob { got, error, asked, .. } = event else { panic!() };
        assert_eq!(asked, "always");
        (got, error)
    }

    #[test]
    fn a_knob_that_shows_its_value_is_in_force() {
        assert_eq!(judged(Shows::Bracketed, Ok(()), Ok("[always] madvise never\n")), ("always".into(), None));
        assert_eq!(judged(Shows::Plain, Ok(()), Ok("always\n")), ("always".into(), None));
    }

    #[test]
    fn every_other_outcome_is_an_error_that_says_so() {
        let error = |shows, wrote, shown| judged(shows, wrote, shown).1.unwrap();
        assert!(error(Shows::Bracketed, Ok(()), Ok("always [madvise] never")).contains("shows \"madvise\""));
        assert!(error(Shows::Bracketed, Ok(()), Ok("always")).contains("no choice is bracketed"));
        assert!(error(Shows::Plain, Err("Invalid argument"), Ok("always")).contains("Invalid argument"));
        assert!(error(Shows::Plain, Ok(()), Err("No such file")).contains("cannot be read back"));
    }

    #[test]
    fn a_file_that_is_not_there_is_not_made() {
        let EventKind::Knob { error, got, .. } = turn(&knob(Shows::Plain)) else { panic!() };
        assert!(error.unwrap().contains("cannot be written"));
        assert_eq!(got, "");
    }
}
