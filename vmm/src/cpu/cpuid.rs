//! The CPUID that a guest sees.

/// A bit that is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mask {
    /// EAX.
    pub leaf: u32,
    /// ECX.
    pub subleaf: u32,
    /// 0 to 3: EAX to EDX.
    pub register: u8,
    /// 0 to 31.
    pub bit: u8,
}

impl std::str::FromStr for Mask {
    type Err = String;

    fn from_str(_text: &str) -> Result<Self, String> {
        Err("not yet".to_owned())
    }
}
