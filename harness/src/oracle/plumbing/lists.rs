//! The lists of functions that reports do not mean. Entries are separated by blanks; how they match is said at each list.

/// Functions that report, check, lock, copy or enter for others. Memory management is not among them: here it is the suspect.
pub(super) const PLUMBING: &str = "
    __asan_ __hwasan_ __kasan_ kasan_ __kcsan_ kcsan_ __kmsan_ kmsan_ __msan_ __ubsan_ ubsan_ __tsan_ __sanitizer_
    kfence_ __kfence_ dump_stack show_stack __dump_stack dump_backtrace __show_regs show_regs print_ __warn
    warn_slowpath report_bug handle_bug report_bug report_enabled end_report asm_exc_ exc_ asm_sysvec_ sysvec_
    do_error_trap do_trap do_invalid_op invalid_op error_entry bug_handler brk_handler do_debug_exception el1_ el1h_
    el0_ el0t_ do_mem_abort __do_kernel_fault die_kernel_fault panic$ nmi_panic die$ oops_ __die no_context bad_area
    page_fault_oops do_user_addr_fault do_kern_addr_fault __bad_area fixup_exception kernelmode_fixup_or_oops
    lockdep_ lock_acquire lock_release __lock_acquire __lock_release check_prev check_noncircular validate_chain
    mark_lock mark_held debug_check_no_locks debug_locks rcu_lockdep __might_ might_ ___might_ __cant_
    __schedule_bug debug_smp_processor_id check_preemption_disabled __this_cpu_preempt_check _raw_spin_ _raw_read_
    _raw_write_ __raw_spin_ __raw_read_ __raw_write_ do_raw_ spin_lock spin_unlock spin_bug spin_dump rwlock_bug
    queued_spin_ native_queued_ queued_read_ queued_write_ __pv_queued_ mutex_lock mutex_trylock mutex_unlock
    __mutex_ down_read down_write up_read up_write __down_ rwsem_ __up_ percpu_down_ percpu_up_ __percpu_down
    __percpu_up rt_spin_ rt_mutex_ rtlock_ refcount_ __refcount_ kref_ __kref_ atomic_inc atomic_dec atomic_add
    atomic_sub atomic_read atomic_set atomic_cmpxchg atomic_xchg atomic_try atomic_fetch atomic_long atomic64_
    arch_atomic raw_atomic instrument_ _atomic_ __list_add_valid __list_del_entry_valid __list_add __list_del
    list_add list_del debug_object_ __debug_object debug_print_object debug_check_no_obj __check_object_size
    usercopy_abort check_heap_object __stack_chk_fail memcpy memset memmove memcmp __memcpy __memset __memmove
    strcpy strlen strnlen strcmp strncmp strscpy strlcpy strncpy copy_from_user copy_to_user _copy_from_ _copy_to_
    __copy_ copy_user_ raw_copy_ rep_movs clear_page_ entry_SYSCALL_ entry_INT80 entry_SYSENTER do_syscall_
    __do_fast_syscall ret_from_fork test_bit _test_bit set_bit clear_bit __set_bit __clear_bit constant_test_bit
    variable_test_bit arch_test_bit __read_once __write_once READ_ONCE stack_trace_ save_stack depot_save
    stack_depot watchdog_timer_fn touch_nmi touch_softlockup touch_all nmi_cpu_backtrace nmi_trigger_ arch_trigger_
    trigger_single trigger_all trigger_cpumask rcu_dump_cpu_stacks rcu_check_gp_ perf_trace_ trace_hardirqs
    trace_call_bpf fault_in_kernel asm_common_interrupt common_interrupt call_trace check_memory_region should_fail
    __should_fail fail_dump warn_alloc arch_local_irq_ strn strst do_tag_check_fault do_tag_recovery fortify_panic
    __fortify_ skb_panic skb_over_panic skb_under_panic assertfail rust_helper_BUG arch_stack_walk
    warn_bogus_irq_restore apic_timer_interrupt smp_apic_timer_interrupt
";

/// Functions that wait or switch for others: plumbing too in reports about tasks that do not come back.
pub(super) const WAITING: &str = "
    schedule __schedule context_switch __switch_to io_schedule preempt_schedule wait_for_ __wait_for_ do_wait_for_
    wait_on_ __wait_on_ out_of_line_wait_ bit_wait prepare_to_wait finish_wait msleep usleep synchronize_
    __synchronize_ folio_wait_bit folio_lock __folio_lock lock_page __lock_page wait_rcu_gp __wait_rcu_gp flush_work
    __flush_work flush_workqueue __flush_workqueue kthread_stop cancel_work __cancel_work do_wait_intr autoremove_
    default_wake __down __sched_text_start call_rwsem_ __rt_mutex rt_mutex task_blocks_on down_
";

/// How tasks enter the kernel: what stands outside of the function that an operation began with.
pub(super) const ENTRIES: &str = "
    __x64_sys_ __ia32_sys_ __arm64_sys_ __se_sys_ __do_sys_ __se_compat ksys_ SyS_ SYSC_ sys_ kthread worker_thread
    process_one_work process_scheduled_works start_secondary secondary_startup invoke_syscall el0_svc do_el0_svc
    entry_ system_call tracesys x64_sys_call do_idle cpu_startup_entry cpu_idle_loop start_kernel x86_64_start
";

/// Services of memory management and of the library that all the kernel calls. They may well be guilty, so the title names them;
/// but a misuse shows in them too, so an alternative title names their caller.
pub(super) const SERVICES: &str = "
    __alloc_pages __alloc_frozen alloc_page __folio_alloc folio_alloc __get_free_page get_zeroed_page __kmalloc
    ___kmalloc kmalloc kzalloc kcalloc krealloc __do_kmalloc __do_krealloc kmem_cache_ __kmem_cache slab_ __slab_
    ___slab_ new_slab kvmalloc __kvmalloc kvzalloc vmalloc __vmalloc vzalloc kmemdup memdup kstrdup kfree __kfree
    kvfree vfree __vunmap free_page __free_page free_large_kmalloc put_page mempool_ xas_ xa_ __xa_ rb_ __rb_
    radix_tree_ idr_ ida_ mas_ mtree_ klist_ timerqueue_ kobject_ __wake_up wake_up try_to_wake_up lock_timer_base
    wait_for_completion _copy crc
";

/// What fuzzers' dashboards skip as well when they name a bug: any function that all the kernel calls, so that the first caller
/// who is specific gives the name. Alternative titles follow it, so that a finding meets its likeness there. Fragments of names;
/// `^` binds to a name's start, `$` to its end.
pub(super) const COMMON: &str = "
    __asan __hwasan __sanitizer __msan __tsan kasan kmsan kcsan kfence check_memory_region read_word_at_a_time
    print_address_description print_report print_usage_bug panic invalid_op report_bug fixup_bug handle_bug do_error
    _trap$ do_trap math_error dump_stack show_stack dump_backtrace walk_stackframe unwind_backtrace warn_slowpath
    warn_alloc warn_bogus __warn ^warn_ debug_object debug_check debug_print debug_smp debug_mutex object_is_static
    timer_is_static work_is_static lockdep perf_trace trace_event ^trace_ lock_acquire lock_release lock_class
    reacquire_held_locks print_circular print_bad_irq print_irq print_deadlock check_noncircular check_prev
    check_usage check_wait_context mark_lock ^validate_chain spin_lock spin_trylock spin_unlock spin_bug spin_dump
    raw_read_lock raw_read_trylock raw_read_unlock raw_write_lock raw_write_trylock raw_write_unlock ^read_lock
    ^_read_lock write_lock read_unlock write_unlock raw_spin ^queued_ native_queued ^__pv_queued
    rwlock_bug ^down_ ^down$ ^__down ^up_read ^__up_read ^up_write ^__up_write ^up$ __rwsem rwsem_ mutex_lock
    mutex_trylock mutex_unlock mutex_remove_waiter mutex_optimistic mutex_spin ^__mutex rtmutex rt_mutex osq_lock
    osq_unlock ww_mutex percpu_rwsem seqcount_ seqlock refcount_ ^kref_ ^__kref ref_tracker __wake_up
    wake_up_process wake_up_all wake_up_interruptible wake_up_bit wake_up_var ^wake_up$ try_to_wake_up
    autoremove_wake finish_wait prepare_to_wait add_wait remove_wait alloc_page malloc zalloc calloc realloc
    kmem_cache allocate_slab new_slab slab_alloc slab_post slab_free slab_pre ___slab __slab_ get_partial kmemdup
    memdup strdup strndup kvfree ^kfree$ ^vfree$ folio_alloc folio_unlock folio_lock filemap_get_folio
    __alloc_frozen prep_new_page post_alloc_hook get_page_from_freelist rmqueue free_unref free_pages
    free_large_kmalloc memcpy memcmp memset memchr memmove memscan strcmp strncmp strcasecmp strcpy strlcpy strncpy
    strscpy strlcat strlen strnstr strstr strnlen strchr strrchr strsep copy_to_user copy_from_user copy_user
    copy_to_iter copy_from_iter copy_page_to copy_page_from copy_folio ^_copy_ ^csum_ put_user get_user clear_user
    might_fault might_sleep might_resched __might list_add list_del list_replace list_move list_splice hlist_
    ^klist_ list_sort llist_ plist_ ^rb_ ^__rb_ rb_insert rb_erase ^xa_ ^__xa ^xas_ radix_tree ^idr_ ^ida_ ^mas_
    mtree_ find_first find_next find_last _bit$ change_bit test_and_ set_bit clear_bit ^bitmap_ ^__bitmap
    ^atomic_inc ^atomic_dec ^atomic_add ^atomic_sub ^atomic_read ^atomic_set ^atomic_cmpxchg ^atomic_xchg
    ^atomic_try ^atomic_fetch ^atomic_long ^atomic64_ ^arch_atomic ^raw_atomic ^__atomic instrument_ _indirect_thunk
    rethunk string ^string ^string_nocheck pointer$ ^number$ nprintf sprintf kasprintf kvasprintf vsscanf printk
    console_unlock console_lock console_trylock dev_printk dev_info dev_notice dev_warn dev_err dev_alert dev_crit
    dev_emerg program_check del_timer timer_delete timer_shutdown mod_timer add_timer lock_timer_base timer_reduce
    hrtimer_start hrtimer_cancel hrtimer_try hrtimer_active flush_work cancel_work cancel_delayed __cancel
    try_to_grab_pending flush_workqueue drain_workqueue destroy_workqueue queue_work queue_delayed insert_work
    start_flush kthread_stop kthread_queue kobject_ kset_ add_uevent_var get_device_parent device_add device_del
    device_register device_unregister device_destroy device_release device_create device_initialize ^put_device
    ^get_device devres_ hwrng_unregister i2c_del_adapter __unregister_client device_for_each_child ^bus_for_each
    ^driver_probe ^really_probe __device_attach device_initial_probe bus_probe_device ^bus_remove
    rollback_registered unregister_netdev sysfs_ device_remove tty_unregister_device dummy_urb_enqueue usb_kill_urb
    usb_kill_anchored usb_poison usb_control_msg usb_hcd_ usb_submit_urb usb_unlink usb_start_wait usb_bulk_msg
    usb_interrupt_msg drop_nlink clear_nlink inc_nlink set_nlink iput ^dput fast_dput ^lockref_ ^dget
    mark_buffer_dirty mark_inode_dirty find_lock_entries find_get_entr truncate_inode_pages do_read_cache_folio
    skb_put skb_push skb_pull skb_panic skb_over skb_under skb_copy_datagram simple_copy_to __local_bh_enable
    local_bh bh_enable __raw_read __raw_write raw_in raw_out ^inb$ ^inw$ ^inl$ logic_in logic_out ioread iowrite
    ktime_get percpu_counter_ percpu_ref this_cpu __this_cpu check_preemption smp_processor should_fail fail_dump
    find_held_lock arch_local rcu_read rcu_lock rcu_is_watching rcu_dynticks stack_trace save_stack depot_ crc32
    ^crc ^jhash siphash ubsan fortify usercopy heap_object stack_chk arch_stack ^die$ ^die ^__die no_context
    bad_area do_page_fault exc_page_fault page_fault_oops addr_fault kernelmode_fixup brk_handler do_mem_abort ^el1
    ^el0t ^asm_ ^exc_ sysvec error_entry irqentry ^nmi_ common_interrupt call_trace begin_unwind panicking
    rust_helper
";

/// What a stuck task waits in: fragments, as in [`COMMON`].
pub(super) const WAITS: &str = "
    sched _lock$ _lock_ _slowlock down completion kthread wait synchronize context_switch __switch_to
    cancel_delayed_work flush_work rcu_barrier do_read_cache_folio ^rtnl_lock sleep io_schedule pipe_read lock_sock
";

/// Where the kernel hands on to what is specific: a stall's inner functions are chance, the function that one of these called
/// names it. Fragments, as in [`COMMON`].
pub(super) const DISPATCHERS: &str = "
    process_one_work process_scheduled_works do_syscall_ do_fast_syscall_ sysenter_ tracesys system_call
    invoke_syscall el0_svc x64_sys_call ia32_sys_call syscall_ ret_fast_syscall entry_SYS netif_receive_skb
    do_softirq handle_softirqs call_timer_fn expire_timers run_timers run_timer_softirq run_ksoftirqd
    tasklet_action_common smpboot_thread_fn kthread start_secondary cpu_startup_entry ret_from_fork vfs_write
    vfs_read vfs_iter_read vfs_iter_write do_iter_read do_iter_write vfs_ioctl blkdev_driver_ioctl blkdev_ioctl
    ^call_read_iter ^call_write_iter do_iter_readv new_sync_read new_sync_write ^call_mmap mmap_region do_mmap
    do_dentry_open vfs_open ^sock_sendmsg ^sock_recvmsg ^sock_release ^__sock_release __sys_setsockopt
    kernel_setsockopt sock_common_setsockopt do_sock_setsockopt __sys_listen kernel_listen sk_common_release
    ^sock_mmap __sys_accept kernel_accept ^sock_do_ioctl ^sock_ioctl ^compat_sock_ioctl ^nfnetlink_rcv_msg
    ^rtnetlink_rcv_msg ^netlink_dump __do_fault __fput task_work_run exit_to_usermode exit_to_user_mode SyS_ioctl
    SYSC_ioctl __sys_ioctl x64_sys_ioctl SyS_connect SYSC_connect __sys_connect SyS_socketpair SYSC_socketpair
    __sys_socketpair compat_SyS_ioctl compat_ioctl
";
