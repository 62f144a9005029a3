//! `coverage:` which cells of the product a matrix takes.

use crate::cover::MAX_T;
use schemars::{json_schema, JsonSchema, Schema, SchemaGenerator};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;

/// How much of the product of all dimensions, variants and workloads is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Coverage {
    /// Every legal cell.
    #[default]
    Full,
    /// Few cells, in which every legal combination of so many settings occurs: 1 to [`MAX_T`]. `pairwise` is 2.
    Ways(usize),
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("full"),
            Self::Ways(2) => f.write_str("pairwise"),
            Self::Ways(t) => write!(f, "{t}-way"),
        }
    }
}

impl<'de> Deserialize<'de> for Coverage {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(CoverageVisitor)
    }
}

impl JsonSchema for Coverage {
    fn schema_name() -> Cow<'static, str> {
        "Coverage".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "enum": ["full", "pairwise"] },
            {
                "type": "object",
                "properties": { "t": { "type": "integer", "minimum": 1, "maximum": MAX_T } },
                "required": ["t"],
                "additionalProperties": false,
            },
        ] })
    }
}

struct CoverageVisitor;

impl<'de> Visitor<'de> for CoverageVisitor {
    type Value = Coverage;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "full, pairwise or {{t: N}} with N from 1 to {MAX_T}")
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<Coverage, E> {
        match v {
            "full" => Ok(Coverage::Full),
            "pairwise" => Ok(Coverage::Ways(2)),
            _ => Err(E::invalid_value(de::Unexpected::Str(v), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Coverage, A::Error> {
        let mut ways = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != "t" || ways.is_some() {
                return Err(de::Error::invalid_value(de::Unexpected::Str(&key), &self));
            }
            ways = Some(map.next_value::<Strength>()?.0);
        }
        ways.map(Coverage::Ways).ok_or_else(|| de::Error::missing_field("t"))
    }
}

struct Strength(usize);

impl<'de> Deserialize<'de> for Strength {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_u64(StrengthVisitor)
    }
}

struct StrengthVisitor;

impl Visitor<'_> for StrengthVisitor {
    type Value = Strength;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number from 1 to {MAX_T}")
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Strength, E> {
        match usize::try_from(v) {
            Ok(t) if (1..=MAX_T).contains(&t) => Ok(Strength(t)),
            _ => Err(E::invalid_value(de::Unexpected::Unsigned(v), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::yaml;
    use std::path::Path;

    #[derive(Debug, Deserialize)]
    struct Only {
        coverage: Coverage,
    }

    fn parse(text: &str) -> Result<Coverage, String> {
        yaml::parse::<Only>(Path::new("m.yaml"), text).map(|o| o.coverage).map_err(|e| e.to_string())
    }

    #[test]
    fn coverage_has_three_forms() {
        assert_eq!(parse("coverage: full"), Ok(Coverage::Full));
        assert_eq!(parse("coverage: pairwise"), Ok(Coverage::Ways(2)));
        assert_eq!(parse("coverage: {t: 3}"), Ok(Coverage::Ways(3)));
        assert_eq!(Coverage::Ways(3).to_string(), "3-way");
    }

    #[test]
    fn other_forms_are_refused() {
        let all = [
            "coverage: some",
            "coverage: 3",
            "coverage: {t: 7}",
            "coverage: {t: two}",
            "coverage: {}",
            "coverage: {s: 2}",
        ]
        .map(|text| parse(text).unwrap_err())
        .join("\n");
        insta::assert_snapshot!(all, @r#"
        m.yaml:1:11: coverage: invalid value: string "some", expected full, pairwise or {t: N} with N from 1 to 6
        m.yaml:1:11: coverage: invalid type: integer `3`, expected full, pairwise or {t: N} with N from 1 to 6
        m.yaml:1:15: coverage.t: invalid value: integer `7`, expected a number from 1 to 6
        m.yaml:1:15: coverage.t: invalid type: string "two", expected a number from 1 to 6
        m.yaml:1:11: coverage: the key 't' is missing
        m.yaml:1:11: coverage: invalid value: string "s", expected full, pairwise or {t: N} with N from 1 to 6
        "#);
    }
}
