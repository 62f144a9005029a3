//! What a trial's machine is to run: its request, and the files that this takes.

use super::storage::Storage;
use super::{CMDLINE, HEARTBEAT_MS, INITRAMFS, PANIC_RESETS, PANIC_STAYS};
use crate::build::Kernel;
use crate::error::Result;
use crate::image;
use crate::machine::Spec;
use crate::plan::Cell;
use anyhow::Context;
use mmtorture_protocol::{Request, VERSION};
use std::path::Path;
use tempfile::NamedTempFile;

/// A guest that is ready to start. Its files are gone with it.
pub struct Guest {
    /// What is asked of it.
    pub request: Request,
    /// The machine it needs.
    pub spec: Spec,
    _storage: Storage,
    _initramfs: NamedTempFile,
}

impl Guest {
    /// The guest of a trial of `cell` with `seed` on `kernel`; `root` for a suite's. Its files are made in `dir`; `dump` if
    /// its memory may be dumped.
    ///
    /// # Errors
    /// The disk is full, or mke2fs is missing where the cell needs it.
    pub fn make(
        cell: &Cell,
        seed: u64,
        kernel: &Kernel,
        base_image: &Path,
        root: Option<&Path>,
        dump: bool,
        dir: &Path,
    ) -> Result<Self> {
        let shape = &cell.shape;
        let storage = Storage::make(shape, root, dir)?;
        let request = Request {
            version: VERSION,
            trial: format!("{}/{seed}", cell.id),
            seed,
            seconds: cell.seconds,
            heartbeat_ms: HEARTBEAT_MS,
            knobs: shape.knobs.clone(),
            repeat: shape.repeat.clone(),
            scratch: storage.scratch(shape),
            memcg: shape.memcg,
            nodes: shape.nodes,
            swap: shape.swap,
            root: storage.root(),
            workload: cell.workload.clone(),
        };
        // The machine reads it while it starts; it follows from the request and the base archive.
        let initramfs = tempfile::Builder::new()
            .prefix("initramfs-")
            .suffix(INITRAMFS)
            .tempfile_in(dir)
            .with_context(|| format!("cannot write to {}", dir.display()))?;
        let modules = kernel.modules();
        image::write_initramfs(initramfs.path(), base_image, modules.as_deref(), &request, storage.packed.as_deref())?;
        let spec = Spec {
            kernel: kernel.image(),
            vmlinux: kernel.vmlinux(),
            initramfs: initramfs.path().to_owned(),
            cmdline: [CMDLINE, if dump { PANIC_STAYS } else { PANIC_RESETS }]
                .into_iter()
                .chain(shape.cmdline.iter().map(String::as_str))
                .collect::<Vec<_>>()
                .join(" "),
            cpus: shape.cpus,
            memory_mib: shape.memory_mib,
            nodes: shape.nodes,
            disks: storage.disks(),
            dump,
        };
        Ok(Self { request, spec, _storage: storage, _initramfs: initramfs })
    }
}
