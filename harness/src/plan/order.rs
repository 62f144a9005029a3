//! The order in which cells run: what is likely to find something soon, first.

use super::estimate::Times;
use super::{Cell, Variant};
use std::sync::Arc;

/// Fixed cells first, for somebody thought of them; then kernel by kernel, so that one is built while cells of another
/// run; in each, what takes less time first. Otherwise the order is kept.
pub(super) fn order(cells: &mut Vec<Cell>, fixed: usize, variants: &[Arc<Variant>], times: &dyn Times) {
    let of_variant = |cell: &Cell| variants.iter().position(|v| v.name == cell.variant);
    let rest = cells.split_off(fixed);
    // Kernels that the fixed cells need are built first, in their order.
    let mut kernels: Vec<String> = Vec::new();
    for cell in cells.iter() {
        if !kernels.iter().any(|k| k == cell.kernel()) {
            kernels.push(cell.kernel().to_owned());
        }
    }
    let mut keyed: Vec<_> = rest
        .into_iter()
        .map(|cell| {
            let early = kernels.iter().position(|k| k == cell.kernel()).unwrap_or(usize::MAX);
            ((early, of_variant(&cell)), times.trial(&cell), cell)
        })
        .collect();
    keyed.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    cells.extend(keyed.into_iter().map(|(_, _, cell)| cell));
}
