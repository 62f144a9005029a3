//! Plainer settings in the place of a cell's own, to see which it needs.

use super::cell::shape;
use super::factors::{VARIANT, WORKLOAD};
use super::{legal, Cell, Plan, Variant};
use crate::matrix::rule::Settings;
use std::collections::BTreeMap;

/// What does least, by the name that dimensions have for it.
const PLAIN: [&str; 3] = ["never", "none", "off"];

/// The same of dimensions that have no such word: one processor, one node, memory to spare.
const PLAIN_OF: [(&str, &str); 3] = [("cpus", "1"), ("numa", "1"), ("memory", "1G")];

/// A setting of a cell, and a plainer one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// The dimension.
    pub dimension: String,
    /// The cell's setting.
    pub setting: String,
    /// What is tried in its place.
    pub instead: String,
}

impl Plan {
    /// The settings of `cell` that have a plainer one on the same kernel, in the matrix's order: of the dimension's own,
    /// else one that the matrix has as well.
    pub fn switches(&self, cell: &Cell, variant: &Variant) -> Vec<Switch> {
        let mut switches = Vec::new();
        for (dimension, settings) in &self.matrix.dimensions.0 {
            let Some(setting) = cell.settings.get(dimension.name) else { continue };
            let of_it = PLAIN_OF.iter().filter(|(name, _)| *name == dimension.name).map(|(_, plain)| *plain);
            let exists = |s: &&str| dimension.effect(s).is_ok();
            let own: Vec<&str> = of_it.chain(PLAIN).filter(exists).collect();
            // What is as plain as can be has nothing to be tried without.
            if own.iter().any(|plain| plain == setting) {
                continue;
            }
            let others = settings.iter().map(String::as_str).filter(|s| s != setting);
            let switch = own.into_iter().chain(others).map(|instead| Switch {
                dimension: dimension.name.to_owned(),
                setting: setting.clone(),
                instead: instead.to_owned(),
            });
            let one_kernel = |switch: &Switch| {
                let with = shape(&self.matrix, &with(&cell.settings, &[switch]));
                with.is_some_and(|shape| shape.build == cell.shape.build) && variant.name == cell.variant
            };
            switches.extend(switch.into_iter().find(one_kernel));
        }
        switches
    }

    /// `cell` with these switches thrown, of so many seconds; `None` if that is illegal.
    pub fn switched(&self, cell: &Cell, variant: &Variant, thrown: &[&Switch], seconds: u32) -> Option<Cell> {
        let settings = with(&cell.settings, thrown);
        if !thrown.is_empty() && self.breaks(&settings, cell) {
            return None;
        }
        let shape = shape(&self.matrix, &settings)?;
        Some(Cell { settings, shape, ..cell.clone() }.on(variant, Some(seconds)))
    }

    /// `cell` with another workload and with these settings in the place of its own; `None` if that is illegal, or its
    /// kernel would be another.
    pub fn loaded(
        &self,
        cell: &Cell,
        variant: &Variant,
        workload: &str,
        changes: &BTreeMap<String, String>,
    ) -> Option<Cell> {
        let mut settings = cell.settings.clone();
        settings.extend(changes.clone());
        let loaded = Cell { workload: workload.to_owned(), settings, ..cell.clone() };
        let shape = shape(&self.matrix, &loaded.settings).filter(|shape| shape.build == cell.shape.build)?;
        let legal = !self.breaks(&loaded.settings, &loaded);
        legal.then(|| Cell { shape, ..loaded }.on(variant, None))
    }

    fn breaks(&self, settings: &BTreeMap<String, String>, cell: &Cell) -> bool {
        let setting = |name: &str| match name {
            VARIANT => Some(cell.variant.as_str()),
            WORKLOAD => Some(cell.workload.as_str()),
            _ => settings.get(name).map(String::as_str),
        };
        let holds = |(name, among): &(String, Vec<String>)| setting(name).is_some_and(|s| among.iter().any(|a| a == s));
        let all = |rule: &Settings| rule.0.iter().all(holds);
        legal::TABLE.iter().any(|rule| rule.breaks(settings))
            || self.matrix.forbid.iter().any(all)
            || self.matrix.require.iter().any(|rule| all(&rule.when) && !all(&rule.then))
    }
}

fn with(settings: &BTreeMap<String, String>, thrown: &[&Switch]) -> BTreeMap<String, String> {
    let mut settings = settings.clone();
    for switch in thrown {
        settings.insert(switch.dimension.clone(), switch.instead.clone());
    }
    settings
}
