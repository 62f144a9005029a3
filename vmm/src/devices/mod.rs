//! The devices, a folder each.
