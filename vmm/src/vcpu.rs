//! Virtual CPUs.
