//! What a vCPU is before it runs: CPUID, MSRs.

pub mod cpuid;
