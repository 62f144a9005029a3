//! Figures over several measurements. Pure.

/// The middle of numbers, which are sorted for it; `None` of none.
pub fn median(numbers: &mut [f64]) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let half = numbers.len() / 2;
    match numbers.len() {
        0 => None,
        n if n % 2 == 1 => Some(numbers[half]),
        _ => Some(f64::midpoint(numbers[half - 1], numbers[half])),
    }
}

/// The value below which that share of `sorted` numbers lies, between two of them if need be; `None` of none.
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = share.clamp(0.0, 1.0) * last as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    Some(low + (high - low) * at.fract())
}

/// Wilson's score interval for a rate of which `hits` of `of` trials were seen, at 95 %; `None` of no trials.
pub fn wilson(hits: u32, of: u32) -> Option<(f64, f64)> {
    /// The normal distribution's 97.5 % point.
    const Z: f64 = 1.959_964;
    if of == 0 {
        return None;
    }
    let (n, p) = (f64::from(of), f64::from(hits) / f64::from(of));
    let z2 = Z * Z;
    let middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    Some(((middle - half).max(0.0), (middle + half).min(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_the_numbers() {
        let numbers = [1.0, 2.0, 4.0];
        let at = |share| quantile(&numbers, share);
        assert_eq!((at(0.0), at(0.25), at(0.5), at(1.0)), (Some(1.0), Some(1.5), Some(2.0), Some(4.0)));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn an_interval_is_as_wide_as_wilson_says() {
        // Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
        for (hits, of, low, high) in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)] {
            let got = wilson(hits, of).unwrap();
            assert!((got.0 - low).abs() < 1e-4 && (got.1 - high).abs() < 1e-4, "{hits} of {of}: {got:?}");
        }
        assert_eq!(wilson(0, 0), None);
    }

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median(&mut [1.0, 2.0, 9.0]), Some(2.0));
        assert_eq!(median(&mut [1.0, 2.0, 4.0, 9.0]), Some(3.0));
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }
}
