//! Which functions of a trace are not what a developer looks for. Lists of prefixes, blank-separated; whole names end in `$`.

use std::sync::LazyLock;

use super::finding::Frame;

/// Functions that report, check, lock, copy or enter for others. Memory management is not among them: here it is the suspect.
const PLUMBING: &str = "
    __asan_ __hwasan_ __kasan_ kasan_ __kcsan_ kcsan_ __kmsan_ kmsan_ __msan_ __ubsan_ ubsan_ __tsan_
    __sanitizer_ kfence_ __kfence_ dump_stack show_stack __dump_stack dump_backtrace __show_regs show_regs
    print_ __warn warn_slowpath report_bug handle_bug report_ end_report asm_exc_ exc_ asm_sysvec_ sysvec_
    do_error_trap do_trap do_invalid_op invalid_op error_entry bug_handler brk_handler do_debug_exception el1_
    el1h_ el0_ el0t_ do_mem_abort __do_kernel_fault die_kernel_fault panic$ nmi_panic die$ oops_ __die
    no_context bad_area page_fault_oops do_user_addr_fault do_kern_addr_fault __bad_area fixup_exception
    kernelmode_fixup_or_oops lockdep_ lock_acquire lock_release __lock_acquire __lock_release check_prev
    check_noncircular validate_chain mark_lock mark_held debug_check_no_locks debug_locks rcu_lockdep __might_
    might_ ___might_ __cant_ __schedule_bug debug_smp_processor_id check_preemption_disabled
    __this_cpu_preempt_check _raw_spin_ _raw_read_ _raw_write_ __raw_spin_ __raw_read_ __raw_write_ do_raw_
    spin_lock spin_unlock spin_bug spin_dump rwlock_bug queued_spin_ native_queued_ queued_read_ queued_write_
    __pv_queued_ mutex_lock mutex_trylock mutex_unlock __mutex_ down_read down_write up_read up_write __down_
    rwsem_ __up_ percpu_down_ percpu_up_ __percpu_down __percpu_up rt_spin_ rt_mutex_ rtlock_ refcount_
    __refcount_ kref_ __kref_ atomic_ arch_atomic raw_atomic instrument_ _atomic_ __list_add_valid
    __list_del_entry_valid __list_add __list_del list_add list_del __hlist hlist_ debug_object_ __debug_object
    debug_print_object debug_check_no_obj __check_object_size usercopy_abort check_heap_object __stack_chk_fail
    memcpy memset memmove memcmp __memcpy __memset __memmove strcpy strlen strnlen strcmp strncmp strscpy
    strlcpy strncpy copy_from_user copy_to_user _copy_from_ _copy_to_ __copy_ copy_user_ raw_copy_ rep_movs
    clear_page_ entry_SYSCALL_ entry_INT80 entry_SYSENTER do_syscall_ __do_fast_syscall ret_from_fork test_bit
    _test_bit set_bit clear_bit __set_bit __clear_bit constant_test_bit variable_test_bit arch_test_bit
    __read_once __write_once READ_ONCE unwind_ stack_trace_ save_stack depot_save stack_depot watchdog_timer_fn
    touch_ nmi_cpu_backtrace nmi_trigger_ arch_trigger_ trigger_ rcu_dump_cpu_stacks rcu_check_gp_ perf_trace_
    trace_hardirqs trace_call_bpf fault_in_kernel asm_common_interrupt common_interrupt call_trace
    check_memory_region should_fail __should_fail fail_dump warn_alloc arch_local_irq_ strn strst
    do_tag_check_fault do_tag_recovery fortify_panic __fortify_ skb_panic skb_over_panic skb_under_panic
    assertfail rust_helper_BUG arch_stack_walk warn_bogus_irq_restore apic_timer_interrupt
    smp_apic_timer_interrupt
";

/// Functions that wait or switch for others: plumbing too in reports about tasks that do not come back.
const WAITING: &str = "
    schedule __schedule context_switch __switch_to io_schedule preempt_schedule wait_for_ __wait_for_
    do_wait_for_ wait_on_ __wait_on_ out_of_line_wait_ bit_wait prepare_to_wait finish_wait msleep usleep
    synchronize_ __synchronize_ folio_wait_bit folio_lock __folio_lock lock_page __lock_page wait_rcu_gp
    __wait_rcu_gp flush_work __flush_work flush_workqueue __flush_workqueue kthread_stop cancel_work
    __cancel_work do_wait_intr autoremove_ default_wake __down __sched_text_start call_rwsem_ __rt_mutex
    rt_mutex task_blocks_on down_
";

/// How tasks enter the kernel: what stands outside of the function that an operation began with.
const ENTRIES: &str = "
    __x64_sys_ __ia32_sys_ __arm64_sys_ __se_sys_ __do_sys_ __se_compat ksys_ SyS_ SYSC_ sys_ kthread
    worker_thread process_one_work process_scheduled_works start_secondary secondary_startup invoke_syscall
    el0_svc do_el0_svc entry_ system_call tracesys x64_sys_call do_idle cpu_startup_entry cpu_idle_loop
    start_kernel x86_64_start
";

/// Services of memory management and of the library that all the kernel calls. They may well be guilty, so the title names them;
/// but a misuse shows in them too, so an alternative title names their caller.
const SERVICES: &str = "
    __alloc_pages __alloc_frozen alloc_page __folio_alloc folio_alloc __get_free_page get_zeroed_page __kmalloc
    ___kmalloc kmalloc kzalloc kcalloc krealloc __do_kmalloc __do_krealloc kmem_cache_ __kmem_cache slab_
    __slab_ ___slab_ new_slab kvmalloc __kvmalloc kvzalloc vmalloc __vmalloc vzalloc kmemdup memdup kstrdup
    kfree __kfree kvfree vfree __vunmap free_page __free_page free_large_kmalloc put_page mempool_ xas_ xa_
    __xa_ rb_ __rb_ radix_tree_ idr_ ida_ mas_ mtree_ klist_ timerqueue_ kobject_ __wake_up wake_up
    try_to_wake_up lock_timer_base wait_for_completion _copy crc
";

/// A list, taken apart once.
type Names = LazyLock<Vec<&'static str>>;

static PLUMBING_NAMES: Names = LazyLock::new(|| PLUMBING.split_whitespace().collect());
static WAITING_NAMES: Names = LazyLock::new(|| WAITING.split_whitespace().collect());
static ENTRY_NAMES: Names = LazyLock::new(|| ENTRIES.split_whitespace().collect());
static SERVICE_NAMES: Names = LazyLock::new(|| SERVICES.split_whitespace().collect());

/// A function's name without what the compiler appended, which changes from build to build.
pub(super) fn base_name(function: &str) -> &str {
    const SUFFIXES: [&str; 7] = [".constprop", ".isra", ".part", ".cold", ".llvm", ".cfi", ".clone"];
    let cut = SUFFIXES.iter().filter_map(|s| function.find(s)).filter(|&at| at > 0).min();
    &function[..cut.unwrap_or(function.len())]
}

fn listed(name: &str, list: &[&str]) -> bool {
    list.iter().any(|entry| match entry.strip_suffix('$') {
        Some(whole) => name == whole,
        None => name.starts_with(entry),
    })
}

/// What one report holds for plumbing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plumbing {
    /// Functions that only report it, in the same notation as the lists here.
    pub reporters: &'static [&'static str],
    /// Its task does not come back, so functions that wait are not to blame.
    pub waiting: bool,
}

impl Plumbing {
    /// Whether a function is plumbing.
    pub fn covers(self, function: &str) -> bool {
        let name = base_name(function);
        listed(name, &PLUMBING_NAMES) || listed(name, self.reporters) || (self.waiting && listed(name, &WAITING_NAMES))
    }

    /// The first function that is not plumbing; entries marked `?` only where there is none else.
    pub fn first_guilty(self, frames: &[Frame]) -> Option<String> {
        self.first(frames, |_| true)
    }

    /// The same among what is no service either.
    pub fn first_user(self, frames: &[Frame]) -> Option<String> {
        self.first(frames, |name| !listed(name, &SERVICE_NAMES))
    }

    fn first(self, frames: &[Frame], wanted: impl Fn(&str) -> bool) -> Option<String> {
        let find = |unreliable: bool| {
            let mut names = frames.iter().filter(|f| f.unreliable == unreliable).map(|f| base_name(&f.function));
            names.find(|name| !self.covers(name) && wanted(name)).map(str::to_owned)
        };
        find(false).or_else(|| find(true))
    }

    /// The function that the task's way into the kernel led to: the outermost that is neither plumbing nor an entry.
    pub fn outermost(self, frames: &[Frame]) -> Option<String> {
        let mut names = frames.iter().rev().filter(|f| !f.unreliable).map(|f| base_name(&f.function));
        names.find(|name| !self.covers(name) && !listed(name, &ENTRY_NAMES)).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Plumbing = Plumbing { reporters: &[], waiting: false };

    #[test]
    fn mm_is_not_plumbing() {
        for mm in [
            "migrate_folio_unmap",
            "rmap_walk_anon",
            "try_to_unmap_one.constprop.0",
            "__alloc_pages",
            "free_unref_page",
        ] {
            assert!(!NONE.covers(mm), "{mm}");
        }
        for other in ["dump_stack_lvl", "asm_exc_invalid_op", "_raw_spin_lock", "__list_del_entry_valid.cold"] {
            assert!(NONE.covers(other), "{other}");
        }
        assert_eq!(base_name("foo.constprop.0.isra.1.cold"), "foo");
    }
}
