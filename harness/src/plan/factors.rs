//! The matrix as factors with values, which is how coverage sees it: variant, dimensions, workload.

use super::cell::{cell_id, shape};
use super::{Cell, Variant, Wrong};
use crate::cover::{Forbid, Literal, Mask, Value, MAX_VALUES};
use crate::matrix::rule::Settings;
use crate::matrix::yaml::locate::Step;
use crate::matrix::Matrix;
use crate::suggest::did_you_mean;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The variant's name in rules.
pub(super) const VARIANT: &str = "variant";
/// The workload's name in rules.
pub(super) const WORKLOAD: &str = "workload";

/// The factors, in the order in which the product is listed.
pub(super) struct Factors<'a> {
    matrix: &'a Matrix,
    variants: &'a [Arc<Variant>],
    /// Workloads that exist, whether or not the matrix has them.
    workloads: &'a [String],
    all: Vec<(&'a str, Vec<&'a str>)>,
}

impl<'a> Factors<'a> {
    pub(super) fn new(
        matrix: &'a Matrix,
        variants: &'a [Arc<Variant>],
        workloads: &'a [String],
    ) -> Result<Self, Wrong> {
        let mut all = vec![(VARIANT, variants.iter().map(|v| v.name.as_str()).collect::<Vec<_>>())];
        for (dimension, settings) in &matrix.dimensions.0 {
            all.push((dimension.name, settings.iter().map(String::as_str).collect()));
        }
        all.push((WORKLOAD, matrix.workloads.iter().map(String::as_str).collect()));
        for (name, settings) in &all {
            if settings.len() > MAX_VALUES {
                let message = format!("{} settings of '{name}', expected at most {MAX_VALUES}", settings.len());
                return Err(Wrong { at: vec!["dimensions".into(), (*name).into()], message });
            }
        }
        Ok(Self { matrix, variants, workloads, all })
    }

    pub(super) fn sizes(&self) -> Vec<usize> {
        self.all.iter().map(|(_, settings)| settings.len()).collect()
    }

    /// The settings of the factor of that name, with its number.
    pub(super) fn find(&self, name: &str) -> Option<(usize, &[&'a str])> {
        let factor = self.all.iter().position(|(n, _)| *n == name)?;
        Some((factor, &self.all[factor].1))
    }

    fn expect(&self, name: &str, at: &[Step]) -> Result<(usize, &[&'a str]), Wrong> {
        self.find(name).ok_or_else(|| {
            let names: Vec<_> = self.all.iter().map(|(n, _)| *n).collect();
            let hint = did_you_mean(name, names.iter().copied());
            let message = format!("this matrix has no dimension '{name}', expected one of {}{hint}", names.join(", "));
            Wrong { at: at.to_vec(), message }
        })
    }

    /// Whether a setting makes sense at all. A rule may name one that the matrix does not have just now.
    fn exists(&self, name: &str, setting: &str) -> bool {
        match name {
            VARIANT => false,
            WORKLOAD => self.workloads.iter().any(|w| w == setting),
            _ => self.matrix.dimensions.0.iter().any(|(d, _)| d.name == name && d.effect(setting).is_ok()),
        }
    }

    /// The values of one factor that a rule names.
    fn values(&self, name: &str, settings: &[String], at: &[Step], strict: bool) -> Result<Literal, Wrong> {
        let (factor, known) = self.expect(name, at)?;
        let mut values: Mask = 0;
        for (i, setting) in settings.iter().enumerate() {
            match known.iter().position(|k| k == setting) {
                Some(value) => values |= 1 << value,
                None if !strict && self.exists(name, setting) => {}
                None => {
                    let mut at = [at, &[name.into()]].concat();
                    // One setting need not be a list.
                    at.extend((settings.len() > 1).then(|| i.into()));
                    let hint = did_you_mean(setting, known.iter().copied());
                    let message = format!("no '{setting}' in this matrix, expected one of {}{hint}", known.join(", "));
                    return Err(Wrong { at, message });
                }
            }
        }
        Ok(Literal { factor, values })
    }

    /// A rule's literals.
    pub(super) fn forbid(&self, rule: &Settings, at: &[Step]) -> Result<Forbid, Wrong> {
        if rule.0.is_empty() {
            return Err(Wrong { at: at.to_vec(), message: "names no setting, so it is about every cell".to_owned() });
        }
        rule.0.iter().map(|(name, settings)| self.values(name, settings, at, false)).collect()
    }

    /// The rows that an item of `cells:` stands for.
    pub(super) fn rows(&self, cell: &Settings, at: &[Step]) -> Result<Vec<Vec<Value>>, Wrong> {
        let mut rows = vec![vec![0; self.all.len()]];
        for (name, settings) in &cell.0 {
            let literal = self.values(name, settings, at, true)?;
            let values = (0..MAX_VALUES as Value).filter(|v| literal.values & (1 << v) != 0);
            rows = values
                .flat_map(|value| {
                    rows.iter().cloned().map(move |mut row: Vec<Value>| {
                        row[literal.factor] = value;
                        row
                    })
                })
                .collect();
        }
        Ok(rows)
    }

    /// The cell of a row.
    pub(super) fn cell(&self, row: &[Value]) -> Cell {
        let setting = |factor: usize| self.all[factor].1[usize::from(row[factor])];
        let workload = setting(row.len() - 1);
        let mut settings = BTreeMap::new();
        for (i, (dimension, _)) in self.matrix.dimensions.0.iter().enumerate() {
            settings.insert(dimension.name.to_owned(), setting(i + 1).to_owned());
        }
        let shape = shape(self.matrix, &settings).expect("checked when the matrix was read");
        let seconds = self.matrix.seconds.0;
        let variant = self.variants[usize::from(row[0])].with(&shape.build);
        Cell {
            id: cell_id(&variant, &settings, workload, seconds),
            variant: variant.name,
            settings,
            workload: workload.to_owned(),
            seconds,
            shape,
        }
    }
}
