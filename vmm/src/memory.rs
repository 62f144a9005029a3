//! Guest memory: anonymous, private, given pages only as the guest touches them.

use crate::error::{Error, Result};
use crate::layout::{FOUR_GIB, LOW_END};
use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

/// The ranges of a guest's RAM: address and size in bytes. Devices have the addresses between them.
pub fn ranges(bytes: u64) -> Vec<(u64, u64)> {
    match bytes.checked_sub(LOW_END) {
        None | Some(0) => vec![(0, bytes)],
        Some(rest) => vec![(0, LOW_END), (FOUR_GIB, rest)],
    }
}

/// Maps `bytes` of guest memory. No host memory is reserved for it.
///
/// # Errors
/// The host has no address space for it.
pub fn map(bytes: u64) -> Result<GuestMemoryMmap> {
    let ranges: Vec<_> = ranges(bytes).into_iter().map(|(at, size)| (GuestAddress(at), size as usize)).collect();
    GuestMemoryMmap::from_ranges(&ranges).map_err(Error::host(format!("cannot map {bytes} bytes of guest memory")))
}

/// Gives the memory to the VM.
///
/// # Errors
/// KVM refuses it.
pub fn register(vm: &VmFd, memory: &GuestMemoryMmap) -> Result<()> {
    for (slot, region) in (0..).zip(memory.iter()) {
        let region = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: region.start_addr().0,
            memory_size: region.len(),
            userspace_addr: region.as_ptr() as u64,
        };
        // SAFETY: the region is a mapping of that size, and the caller keeps it for as long as the VM.
        unsafe { vm.set_user_memory_region(region) }.map_err(Error::host("KVM_SET_USER_MEMORY_REGION"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_leaves_the_devices_their_addresses() {
        assert_eq!(ranges(512 << 20), [(0, 512 << 20)]);
        assert_eq!(ranges(LOW_END), [(0, LOW_END)]);
        assert_eq!(ranges(64 << 30), [(0, LOW_END), (FOUR_GIB, (64 << 30) - LOW_END)]);
    }
}
