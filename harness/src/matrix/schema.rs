//! The JSON Schema of a matrix, for editors: made from the types and the tables that read it.

use super::Matrix;
use schemars::generate::SchemaSettings;
use serde_json::json;

/// Where it is committed, beside the matrices.
pub const FILE: &str = "matrix.schema.json";

/// The schema as text.
pub fn text() -> String {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<Matrix>();
    schema.insert("title".into(), "mmtorture matrix".into());
    // What a matrix leaves out may stand in the one that it extends.
    if let Some(required) = schema.remove("required") {
        let alone = json!({ "required": required });
        schema.insert("anyOf".into(), json!([alone, { "required": ["extends"] }]));
    }
    let text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    fn matrices() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("matrices")
    }

    #[test]
    fn the_committed_schema_is_the_one_that_is_made() {
        let committed = std::fs::read_to_string(matrices().join(FILE)).unwrap_or_default();
        assert!(committed == text(), "run `mmtorture schema > matrices/{FILE}`");
    }

    #[test]
    fn the_shipped_matrices_name_the_schema_and_are_valid() {
        let validator = jsonschema::validator_for(&serde_json::from_str(&text()).unwrap()).unwrap();
        let mut seen = 0;
        for entry in std::fs::read_dir(matrices()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|e| e != "yaml") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let first = text.lines().next().unwrap_or_default();
            assert_eq!(first, format!("# yaml-language-server: $schema={FILE}"), "{}", path.display());
            let document: serde_json::Value = serde_yaml::from_str(&text).unwrap();
            let errors: Vec<_> =
                validator.iter_errors(&document).map(|e| format!("{}: {e}", e.instance_path())).collect();
            assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
            seen += 1;
        }
        assert!(seen >= 3);
    }

    #[test]
    fn what_we_refuse_an_editor_refuses() {
        let validator = jsonschema::validator_for(&serde_json::from_str(&text()).unwrap()).unwrap();
        let good = "mmtorture: 1\nkernel: {source: 'debian:linux-source-6.1', kconfig: [base]}\n\
                    workloads: [anon-churn]\nseconds: 5\ndimensions: {thp: [always, never], cpus: 2}\n";
        let valid = |text: &str| validator.is_valid(&serde_yaml::from_str(text).unwrap());
        assert!(valid(good));
        for (from, to) in [
            ("seconds: 5", "seconds: 0"),
            ("seconds: 5", "secnds: 5"),
            ("thp:", "tph:"),
            ("never", "sometimes"),
            ("cpus: 2", "cpus: 17"),
            ("mmtorture: 1", "mmtorture: 2"),
            ("debian:", "tape:"),
        ] {
            assert!(!valid(&good.replace(from, to)), "{to}");
        }
    }
}
