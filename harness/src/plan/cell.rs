//! Cells, and the ids that are the same on every machine.

use super::Variant;
use crate::hash::Hasher;
use crate::matrix::dimension::Shape;
use crate::matrix::Matrix;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A point of the matrix.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cell {
    /// Stable: depends on what the cell means and not on where it stands in the matrix, nor on the machine.
    pub id: String,
    /// [`Variant::name`].
    pub variant: String,
    /// The setting on each dimension that the matrix names.
    pub settings: BTreeMap<String, String>,
    /// The workload's name.
    pub workload: String,
    /// How long the workload runs, in seconds of guest time.
    pub seconds: u32,
    /// The settings applied. Not kept: it follows from them.
    #[serde(skip)]
    pub shape: Shape,
}

impl Cell {
    /// The cell of `variant` with this cell's settings, workload and, unless given, time.
    pub fn on(&self, variant: &Variant, seconds: Option<u32>) -> Self {
        let seconds = seconds.unwrap_or(self.seconds);
        let id = cell_id(variant, &self.settings, &self.workload, seconds);
        Self { id, variant: variant.name.clone(), seconds, ..self.clone() }
    }

    /// What tells the kernels of cells apart: cells with the same need one build.
    pub fn kernel(&self) -> &str {
        &self.variant
    }
}

/// What a guest with these settings has; `None` if one is missing, or is none of its dimension's.
pub(super) fn shape(matrix: &Matrix, settings: &BTreeMap<String, String>) -> Option<Shape> {
    let mut shape = Shape::default();
    for (dimension, _) in &matrix.dimensions.0 {
        shape.apply(dimension.effect(settings.get(dimension.name)?).ok()?);
    }
    Some(shape)
}

/// `VARIANT.WORKLOAD.HASH`: the words for people, the hash for identity.
pub(super) fn cell_id(variant: &Variant, settings: &BTreeMap<String, String>, workload: &str, seconds: u32) -> String {
    let mut hash = Hasher::new("cell").field(variant.meaning()).field(workload).field(seconds.to_string());
    for (dimension, setting) in settings {
        hash = hash.field(dimension).field(setting);
    }
    // What is built in is a setting like any other.
    let words = variant.plain_name().replace(['/', ':'], "-");
    // What a mix is made of is in the hash, and would be too long a name for a folder.
    let workload = workload.split(':').next().unwrap_or_default();
    format!("{words}.{workload}.{}", &hash.finish()[..8])
}
