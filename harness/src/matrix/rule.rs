//! `cells:`, `forbid:` and `require:`: settings by dimension, where `variant` and `workload` count as dimensions too.
//!
//! Only their form is checked here. Whether the names exist is for the plan to say, which knows the variants and the
//! workloads; [`yaml::locate`](super::yaml::locate) finds the place for its errors.

use super::dimension;
use schemars::{json_schema, JsonSchema, Schema, SchemaGenerator};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;

/// Settings by dimension: of each, one of those. In the file's order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings(pub Vec<(String, Vec<String>)>);

/// Where one holds, the other must.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Require {
    /// Where all of this holds,
    #[serde(rename = "if")]
    pub when: Settings,
    /// all of this must.
    pub then: Settings,
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, settings)) in self.0.iter().enumerate() {
            write!(f, "{}{name}={}", if i > 0 { " " } else { "" }, settings.join("|"))?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_map(SettingsVisitor)
    }
}

impl JsonSchema for Settings {
    fn schema_name() -> Cow<'static, str> {
        "Settings".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let scalar = json_schema!({ "type": ["string", "integer", "boolean"] });
        let list = json_schema!({ "type": "array", "items": scalar, "minItems": 1 });
        let one_or_more = json_schema!({ "anyOf": [scalar, list] });
        let names: serde_json::Map<_, _> = dimension::all()
            .map(|dimension| dimension.name)
            .chain(["variant", "workload"])
            .map(|name| (name.to_owned(), one_or_more.clone().into()))
            .collect();
        json_schema!({
            "type": "object",
            "properties": names,
            "patternProperties": { "^x-": one_or_more },
            "additionalProperties": false,
        })
    }
}

struct SettingsVisitor;

impl<'de> Visitor<'de> for SettingsVisitor {
    type Value = Settings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from a dimension to a setting or a list of settings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Settings, A::Error> {
        let mut all: Vec<(String, Vec<String>)> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if all.iter().any(|(n, _)| *n == name) {
                return Err(de::Error::custom(format!("'{name}' is given twice")));
            }
            let OneOrMore(settings) = map.next_value()?;
            all.push((name, settings));
        }
        Ok(Settings(all))
    }
}

/// A scalar or a list of scalars.
struct OneOrMore(Vec<String>);

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(OneOrMoreVisitor { list: true })
    }
}

struct OneOrMoreVisitor {
    list: bool,
}

impl<'de> de::DeserializeSeed<'de> for OneOrMoreVisitor {
    type Value = OneOrMore;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<OneOrMore, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OneOrMoreVisitor {
    type Value = OneOrMore;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.list { "a setting or a list of settings" } else { "a setting" })
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<OneOrMore, E> {
        Ok(OneOrMore(vec![v.to_owned()]))
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<OneOrMore, E> {
        self.visit_str(&v.to_string())
    }

    fn visit_bool<E: de::Error>(self, v: bool) -> Result<OneOrMore, E> {
        self.visit_str(if v { "true" } else { "false" })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<OneOrMore, A::Error> {
        if !self.list {
            return Err(de::Error::invalid_type(de::Unexpected::Seq, &self));
        }
        let mut settings = Vec::new();
        while let Some(OneOrMore(one)) = seq.next_element_seed(Self { list: false })? {
            settings.extend(one);
        }
        if settings.is_empty() {
            return Err(de::Error::invalid_length(0, &self));
        }
        Ok(OneOrMore(settings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::yaml;
    use std::path::Path;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Only {
        #[serde(default)]
        forbid: Vec<Settings>,
        #[serde(default)]
        require: Vec<Require>,
    }

    fn parse(text: &str) -> Result<Only, String> {
        yaml::parse(Path::new("m.yaml"), text).map_err(|e| e.to_string())
    }

    #[test]
    fn a_rule_names_one_setting_or_several() {
        let only = parse("forbid: [{thp: never, cpus: [1, 2]}]\nrequire: [{if: {a: x}, then: {b: [y, z]}}]").unwrap();
        assert_eq!(only.forbid[0].to_string(), "thp=never cpus=1|2");
        assert_eq!(only.require[0].then.to_string(), "b=y|z");
    }

    #[test]
    fn other_forms_are_refused() {
        let all = [
            "forbid: {thp: never}",
            "forbid: [never]",
            "forbid:\n  - {thp: }",
            "forbid:\n  - thp: []",
            "forbid:\n  - thp: [[never]]",
            "forbid:\n  - thp: 0.5",
            "forbid:\n  - {thp: never, thp: always}",
            "require: [{if: {thp: never}}]",
            "require: [{if: {thp: never}, than: {cpus: 1}}]",
        ]
        .map(|text| parse(text).unwrap_err())
        .join("\n");
        insta::assert_snapshot!(all, @r#"
        m.yaml:1:9: forbid: invalid type: map, expected a sequence
        m.yaml:1:10: forbid[0]: invalid type: string "never", expected a map from a dimension to a setting or a list of settings
        m.yaml:2:11: forbid[0].thp: invalid type: unit value, expected a setting or a list of settings
        m.yaml:2:10: forbid[0].thp: invalid length 0, expected a setting or a list of settings
        m.yaml:2:11: forbid[0].thp[0]: invalid type: sequence, expected a setting
        m.yaml:2:10: forbid[0].thp: invalid type: floating point `0.5`, expected a setting or a list of settings
        m.yaml:2:5: forbid[0]: 'thp' is given twice
        m.yaml:1:11: require[0]: the key 'then' is missing
        m.yaml:1:30: require[0]: unknown key 'than', expected one of if, then; did you mean 'then'?
        "#);
    }
}
