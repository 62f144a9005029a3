//! The dimensions of a matrix with the settings asked for.

use super::dimension::{self, Dimension};
use schemars::{json_schema, JsonSchema, Schema, SchemaGenerator};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;

/// The dimensions of a matrix with the settings asked for, in the file's order.
#[derive(Debug, Clone, Default)]
pub struct Dimensions(pub Vec<(&'static Dimension, Vec<String>)>);

impl<'de> Deserialize<'de> for Dimensions {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_map(DimensionsVisitor)
    }
}

struct DimensionsVisitor;

impl<'de> Visitor<'de> for DimensionsVisitor {
    type Value = Dimensions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from a dimension to a setting or a list of settings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Dimensions, A::Error> {
        let mut dimensions: Vec<(&'static Dimension, Vec<String>)> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            // That it is given twice the parser has found.
            let found = map.next_value_seed(Named(&name))?;
            dimensions.push(found);
        }
        Ok(Dimensions(dimensions))
    }
}

/// Finds the dimension of a name, and reads its settings. Not before its value is read, for errors to have their place.
struct Named<'n>(&'n str);

impl<'de> de::DeserializeSeed<'de> for Named<'_> {
    type Value = (&'static Dimension, Vec<String>);

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        let dimension = dimension::find(self.0).map_err(de::Error::custom)?;
        Ok((dimension, SettingsOf(dimension).deserialize(d)?))
    }
}

/// Reads the settings of one dimension: a scalar or a list of scalars, each checked where it stands.
struct SettingsOf(&'static Dimension);

impl SettingsOf {
    fn check<E: de::Error>(&self, scalar: &impl ToString) -> Result<String, E> {
        let setting = scalar.to_string();
        self.0.effect(&setting).map(|_| setting).map_err(E::custom)
    }
}

impl<'de> de::DeserializeSeed<'de> for SettingsOf {
    type Value = Vec<String>;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Vec<String>, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for SettingsOf {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a setting of '{}' or a list of them: {}", self.0.name, self.0.expected())
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<Vec<String>, E> {
        Ok(vec![self.check(&v)?])
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Vec<String>, E> {
        Ok(vec![self.check(&v)?])
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
        let mut settings = Vec::new();
        while let Some(one) = seq.next_element_seed(SettingsOf(self.0))? {
            for setting in one {
                if settings.contains(&setting) {
                    return Err(de::Error::custom(format!("{}: '{setting}' is given twice", self.0.name)));
                }
                settings.push(setting);
            }
        }
        if settings.is_empty() {
            return Err(de::Error::custom(format!("{}: no setting; expected {}", self.0.name, self.0.expected())));
        }
        Ok(settings)
    }
}

impl JsonSchema for Dimensions {
    fn schema_name() -> Cow<'static, str> {
        "Dimensions".into()
    }

    /// Each dimension of the tables; those that a matrix defines begin with x-, and only we can check their settings.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one_or_list = |one: &serde_json::Value| serde_json::json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1, "uniqueItems": true }] });
        let properties: serde_json::Map<_, _> = dimension::all()
            .map(|dimension| {
                let mut schema = one_or_list(&dimension.schema());
                schema["description"] = dimension.about.into();
                (dimension.name.to_owned(), schema)
            })
            .collect();
        let defined = one_or_list(&serde_json::json!({ "type": ["string", "integer"] }));
        json_schema!({
            "type": "object",
            "properties": properties,
            "patternProperties": { "^x-": defined },
            "additionalProperties": false,
        })
    }
}
