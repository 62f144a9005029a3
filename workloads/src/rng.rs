//! The workloads' own random numbers: the same seed asks the kernel for the same things on every build.
//!
//! xoshiro256** seeded by splitmix64 (Blackman and Vigna, public domain algorithms). Not for secrets.

/// The splitmix64 finaliser over both arguments: derives independent seeds and page patterns.
pub fn mix(a: u64, b: u64) -> u64 {
    let mut z = a ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A stream of pseudo-random numbers.
#[derive(Debug, Clone)]
pub struct Rng([u64; 4]);

impl Rng {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self([mix(seed, 1), mix(seed, 2), mix(seed, 3), mix(seed, 4) | 1])
    }

    /// Any value.
    pub fn next(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A value below `bound`; 0 if `bound` is 0. The modulo bias is of no consequence here.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 {
            return 0;
        }
        (self.next() % bound as u64) as usize
    }

    /// A value from `low` to `high`, both included.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True in `percent` of 100 draws.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// A non-empty range of at most `longest` within `0..len`; empty if `len` is 0.
    pub fn span(&mut self, len: usize, longest: usize) -> std::ops::Range<usize> {
        if len == 0 {
            return 0..0;
        }
        let start = self.below(len);
        let most = longest.clamp(1, len - start);
        start..start + self.between(1, most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_stream_and_another_seed_another() {
        let draw = |seed| {
            let mut rng = Rng::new(seed);
            (0..8).map(|_| rng.next()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn draws_keep_their_bounds() {
        let mut rng = Rng::new(3);
        for _ in 0..10_000 {
            assert!((2..=5).contains(&rng.between(2, 5)));
            let span = rng.span(100, 7);
            assert!(!span.is_empty() && span.len() <= 7 && span.end <= 100);
        }
        assert_eq!(rng.below(0), 0);
        assert!(rng.span(0, 9).is_empty());
        assert_eq!(rng.between(4, 4), 4);
    }

    #[test]
    fn every_value_of_a_small_range_is_drawn() {
        let mut rng = Rng::new(1);
        let mut seen = [0u32; 6];
        (0..6000).for_each(|_| seen[rng.below(6)] += 1);
        assert!(seen.iter().all(|&n| (800..1200).contains(&n)), "{seen:?}");
    }
}
