//! The kernels that are bisected here: they fail by the dice.

/// A seeded generator (splitmix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Evenly from 0 to 1, neither of them.
    pub fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }
}

/// When failures come within a trial that has one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Law {
    /// At its end: every trial costs the same.
    AtTheEnd,
    /// Exponential with a median of 3 s.
    Early,
    /// Half of them so, half evenly over the trial.
    Mixed,
    /// Evenly over the trial: a constant, small hazard.
    Even,
}

/// A trial's full length, in seconds.
pub const LENGTH: f64 = 30.0;

/// A series on a kernel.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub patches: usize,
    /// The chance that a full trial of a bad version fails.
    pub bad: f64,
    /// And of a good one.
    pub good: f64,
    pub law: Law,
    pub truth: Truth,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Truth {
    /// A patch, drawn for each bisection.
    Patch,
    /// No patch; the source has the bug.
    Source,
    /// No patch; the first failure was one of those that come anyway.
    Noise,
}

/// One of them, to be bisected.
pub struct Kernel {
    pub case: Case,
    /// The first bad version: the culprit's number; 0 for the source itself, more than all for none.
    pub first_bad: usize,
    pub dice: Dice,
}

impl Kernel {
    pub fn new(case: Case, seed: u64) -> Self {
        let mut dice = Dice::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x5eed);
        let draw = dice.uniform();
        let first_bad = match case.truth {
            Truth::Patch => 1 + (draw * case.patches as f64) as usize,
            Truth::Source => 0,
            Truth::Noise => case.patches + 1,
        };
        Self { case, first_bad, dice }
    }

    /// A time at which a trial fails that does.
    pub fn time(&mut self) -> f64 {
        const MEDIAN: f64 = 3.0;
        let early = |dice: &mut Dice| {
            let scale = MEDIAN / std::f64::consts::LN_2;
            let most = 1.0 - (-LENGTH / scale).exp();
            -scale * (1.0 - dice.uniform() * most).ln()
        };
        match self.case.law {
            Law::AtTheEnd => LENGTH,
            Law::Early => early(&mut self.dice),
            Law::Mixed if self.dice.uniform() < 0.5 => early(&mut self.dice),
            Law::Mixed | Law::Even => LENGTH * self.dice.uniform(),
        }
    }

    /// Runs a trial: the time of its failure, if it fails.
    pub fn trial(&mut self, version: usize, seconds: f64) -> Option<f64> {
        let rate = if version >= self.first_bad { self.case.bad } else { self.case.good };
        let fails = self.dice.uniform() < rate;
        let time = self.time();
        (fails && time <= seconds).then_some(time)
    }
}

/// What work costs, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Prices {
    /// The first build of a version. The bare source and the whole series are there already.
    pub build: f64,
    pub boot: f64,
}

impl Prices {
    pub const NONE: Self = Self { build: 0.0, boot: 0.0 };
    pub const REAL: Self = Self { build: 40.0, boot: 2.0 };
}

/// What a bisection came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ended {
    /// The patch that it names, with the asked confidence; 0 for the source or nobody.
    pub named: Option<usize>,
    pub trials: f64,
    pub seconds: f64,
}

/// The account of one bisection.
pub struct Account {
    prices: Prices,
    built: Vec<bool>,
    pub ended: Ended,
}

impl Account {
    pub fn new(patches: usize, prices: Prices) -> Self {
        let built = (0..=patches).map(|v| v == 0 || v == patches).collect();
        Self { prices, built, ended: Ended::default() }
    }

    /// What building each version would cost now.
    pub fn builds(&self) -> Vec<f64> {
        self.built.iter().map(|&b| if b { 0.0 } else { self.prices.build }).collect()
    }

    /// Runs a trial and pays for it.
    pub fn trial(&mut self, kernel: &mut Kernel, version: usize, seconds: f64) -> (Option<f64>, f64) {
        let hit = kernel.trial(version, seconds);
        let mut cost = self.prices.boot + hit.unwrap_or(seconds);
        if !std::mem::replace(&mut self.built[version], true) {
            cost += self.prices.build;
        }
        self.ended.trials += 1.0;
        self.ended.seconds += cost;
        (hit, cost)
    }
}
