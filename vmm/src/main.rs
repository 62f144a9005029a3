//! `mmtorture-vmm`.

fn main() {}
