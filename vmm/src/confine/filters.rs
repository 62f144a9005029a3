//! The system calls that each kind of thread may make.

use super::Kind;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use std::collections::BTreeMap;

/// All threads: memory, locks, time, output, and an end.
const COMMON: &[libc::c_long] = &[
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_clock_gettime,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    libc::SYS_writev,
    // A serial port or control connection that is a socket.
    libc::SYS_sendto,
    // What abort(3) and a panic message need.
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

const MAIN: &[libc::c_long] = &[
    libc::SYS_poll,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_ctl,
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_accept4,
    libc::SYS_recvmsg,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_close,
    libc::SYS_fcntl,
    libc::SYS_clock_nanosleep,
    // Dumps: a file that the client opened, written where the guest's memory is resident.
    libc::SYS_lseek,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_ftruncate,
    libc::SYS_fstat,
    libc::SYS_statx,
];

const VCPU: &[libc::c_long] = &[
    // virtio-rng answers in the vCPU's thread.
    libc::SYS_getrandom,
    libc::SYS_close,
];

const WORKER: &[libc::c_long] = &[
    libc::SYS_clock_nanosleep,
    libc::SYS_read,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_getrandom,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    // With RWF_DSYNC, where the guest did not negotiate flushes.
    libc::SYS_pwritev2,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_fdatasync,
    libc::SYS_fallocate,
    libc::SYS_close,
];

/// FIONBIO: makes a new control connection non-blocking.
const MAIN_IOCTLS: &[u64] = &[0x5421];

/// KVM's ioctls that a vCPU's thread makes while it runs (include/uapi/linux/kvm.h).
const VCPU_IOCTLS: &[u64] = &[
    0xae80,      // KVM_RUN
    0x8090_ae81, // KVM_GET_REGS
    0x8138_ae83, // KVM_GET_SREGS
    0xc018_ae85, // KVM_TRANSLATE
    0xc008_ae88, // KVM_GET_MSRS
    0xae9a,      // KVM_NMI
    0xaead,      // KVM_KVMCLOCK_CTRL
];

/// The filter of a kind of thread. What it refuses raises SIGSYS.
pub(super) fn of(kind: Kind) -> Result<BpfProgram, Error> {
    let (own, ioctls): (_, &[u64]) = match kind {
        Kind::Main => (MAIN, MAIN_IOCTLS),
        Kind::Vcpu => (VCPU, VCPU_IOCTLS),
        Kind::Worker => (WORKER, &[]),
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = COMMON.iter().chain(own).map(|call| (*call, vec![])).collect();
    // Memory, but nothing executable.
    rules.insert(libc::SYS_mmap, vec![unset(2, libc::PROT_EXEC as u64)?]);
    rules.insert(libc::SYS_mprotect, vec![unset(2, libc::PROT_EXEC as u64)?]);
    // A call without rules would be allowed whatever its arguments.
    if !ioctls.is_empty() {
        let ioctls = ioctls.iter().map(|request| is(1, *request)).collect::<Result<_, _>>()?;
        rules.insert(libc::SYS_ioctl, ioctls);
    }
    let trap = SeccompAction::Trap;
    let filter = SeccompFilter::new(rules, trap, SeccompAction::Allow, TargetArch::x86_64)?;
    Ok(filter.try_into()?)
}

/// Allows a call whose argument has none of these bits.
fn unset(argument: u8, bits: u64) -> Result<SeccompRule, Error> {
    rule(argument, SeccompCmpOp::MaskedEq(bits), 0)
}

/// Allows a call whose argument is this.
fn is(argument: u8, value: u64) -> Result<SeccompRule, Error> {
    rule(argument, SeccompCmpOp::Eq, value)
}

fn rule(argument: u8, operation: SeccompCmpOp, value: u64) -> Result<SeccompRule, Error> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operation, value)?;
    Ok(SeccompRule::new(vec![condition])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_filter() {
        for kind in Kind::ALL {
            assert!(!of(kind).unwrap().is_empty());
        }
    }
}
