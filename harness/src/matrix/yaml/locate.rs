//! Where in a YAML text something stands: for errors that are found after it has been read.

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// A step from a value to one inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The value of that key.
    Key(String),
    /// The item of that number, from 0. A scalar counts as its own item.
    Item(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(item: usize) -> Self {
        Self::Item(item)
    }
}

/// `forbid[0].thp`.
pub fn path(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text.extend([".", key]),
            Step::Item(item) => text.push_str(&format!("[{item}]")),
        }
    }
    text
}

/// Line and column of what the steps lead to, both from 1. `None` where they lead nowhere.
pub fn locate(text: &str, steps: &[Step]) -> Option<(usize, usize)> {
    walk(text, Walk { steps, key: false })
}

/// The same of the last step's key.
pub fn locate_key(text: &str, steps: &[Step]) -> Option<(usize, usize)> {
    walk(text, Walk { steps, key: true })
}

fn walk(text: &str, walk: Walk<'_>) -> Option<(usize, usize)> {
    // Only the crate's errors carry a place, so the walk ends with one.
    let error = walk.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    error.location().map(|at| (at.line(), at.column()))
}

#[derive(Clone, Copy)]
struct Walk<'a> {
    steps: &'a [Step],
    /// Whether the walk ends at the last step's key.
    key: bool,
}

/// Takes a key and says whether it is the wanted one, or ends the walk there.
struct Key<'a> {
    wanted: &'a str,
    end: bool,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<bool, D::Error> {
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<bool, E> {
        if v == self.wanted && self.end {
            return here();
        }
        Ok(v == self.wanted)
    }
}

fn here<T, E: de::Error>() -> Result<T, E> {
    Err(E::custom("here"))
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        here()
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        here()
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        here()
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        here()
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        here()
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        here()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Some((step, steps)) = self.steps.split_first() else { return here() };
        if let Step::Item(item) = step {
            for _ in 0..*item {
                seq.next_element::<IgnoredAny>()?;
            }
            seq.next_element_seed(Walk { steps, ..self })?;
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((step, steps)) = self.steps.split_first() else { return here() };
        let wanted = match step {
            Step::Key(key) => key.as_str(),
            Step::Item(_) => return Ok(()),
        };
        while let Some(found) = map.next_key_seed(Key { wanted, end: self.key && steps.is_empty() })? {
            if found {
                map.next_value_seed(Walk { steps, ..self })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
a: 1
forbid:
  - {thp: never, cpus: [1, 2]}
  - thp: always
    swap: none
";

    #[test]
    fn steps_lead_to_a_place() {
        let at = |steps: &[Step]| locate(TEXT, steps);
        assert_eq!(at(&["a".into()]), Some((1, 4)));
        assert_eq!(at(&["forbid".into()]), Some((3, 3)));
        assert_eq!(at(&["forbid".into(), 0.into()]), Some((3, 5)));
        assert_eq!(at(&["forbid".into(), 0.into(), "cpus".into(), 1.into()]), Some((3, 28)));
        assert_eq!(at(&["forbid".into(), 1.into(), "swap".into()]), Some((5, 11)));
        assert_eq!(at(&["forbid".into(), 1.into(), "swap".into(), 0.into()]), Some((5, 11)), "a scalar is its item");
        assert_eq!(at(&["forbid".into(), 2.into()]), None);
        assert_eq!(at(&["absent".into()]), None);
        assert_eq!(locate_key(TEXT, &["forbid".into(), 0.into(), "cpus".into()]), Some((3, 18)));
        assert_eq!(locate_key(TEXT, &["absent".into()]), None);
    }

    #[test]
    fn a_path_reads_as_in_other_errors() {
        assert_eq!(path(&["forbid".into(), 0.into(), "cpus".into(), 1.into()]), "forbid[0].cpus[1]");
    }
}
