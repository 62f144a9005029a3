//! Console text to measure with. Made up, in the kernel's forms.

use std::fmt::Write;

/// Ordinary console output of about `bytes` bytes: a boot, drivers, a workload that chats.
pub fn ordinary(bytes: usize) -> Vec<u8> {
    const LINES: [&str; 12] = [
        "pci 0000:00:1f.2: BAR 4: assigned [io  0x5020-0x503f]",
        "EXT4-fs (vda): mounted filesystem with ordered data mode. Quota mode: none.",
        "random: crng init done",
        "zram0: detected capacity change from 0 to 2097152",
        "Adding 1048572k swap on /dev/zram0.  Priority:100 extents:1 across:1048572k SSDscFS",
        "loop0: detected capacity change from 0 to 524288",
        "clocksource: tsc: mask: 0xffffffffffffffff max_cycles: 0x2127e7a5b4d, max_idle_ns: 440795294112 ns",
        "audit: type=1400 audit(1667736000.123:77): avc:  denied  { read } for  pid=771 comm=\"cc1\" name=\"mem\" dev=\"tmpfs\"",
        "systemd[1]: Started Journal Service.",
        "input: ImExPS/2 Generic Explorer Mouse as /devices/platform/i8042/serio1/input/input3",
        "memory: pass 41 of 100: 8192 pages checked, 0 mismatches, page size 2097152, index 0x7f0000400",
        "virtio_blk virtio2: [vda] 2097152 512-byte logical blocks (1.07 GB/1.00 GiB)",
    ];
    let mut text = String::with_capacity(bytes + 256);
    let mut n = 0_usize;
    while text.len() < bytes {
        let line = LINES[(n * 7 + n / 5) % LINES.len()];
        let _ = writeln!(text, "[{:>5}.{:06}][ T{:>4}] {line}", 1 + n / 1000, n * 997 % 1_000_000, 1 + n % 900);
        n += 1;
    }
    text.into_bytes()
}

/// Nothing but oopses, each of another function and task, of about `bytes` bytes.
pub fn oopses(bytes: usize) -> Vec<u8> {
    let mut text = String::with_capacity(bytes + 8192);
    let mut n = 0_u32;
    while text.len() < bytes {
        n += 1;
        let pid = 900 + n % 50;
        let mut line = |body: &str| {
            let _ = writeln!(text, "[{:>5}.{:06}][ T{pid:>4}] {body}", 100 + n / 100, n * 997 % 1_000_000);
        };
        line("------------[ cut here ]------------");
        line(&format!("kernel BUG at mm/huge_memory.c:{}!", 1000 + n % 3000));
        line("invalid opcode: 0000 [#1] PREEMPT SMP NOPTI");
        line(&format!("CPU: {} PID: {pid} Comm: cc1 Tainted: G    B   W          6.1.192 #3", n % 8));
        line("Hardware name: Some Machine (i440FX + PIIX, 1996), BIOS 1.16.2-debian-1.16.2-1 04/01/2014");
        line(&format!("RIP: 0010:split_huge_page_to_list_{n}+0x51a/0x15c0"));
        line("Code: 48 c7 c6 90 2b 14 82 e8 d5 5f fb ff 0f 0b 48 c7 c6 00 2c 14 82 e8 c7 5f fb ff <0f> 0b 48 8b 03 f6 c4 80");
        line("RSP: 0018:ffffc90000e3bb08 EFLAGS: 00010246");
        for registers in [
            "RAX: 0000000000000000 RBX: ffffea0004000000 RCX: 0000000000000000",
            "RDX: 0000000000000000 RSI: ffffffff82141fd0 RDI: 00000000ffffffff",
            "RBP: ffffea0004000000 R08: 0000000000000000 R09: ffffc90000e3b9b8",
            "R10: 0000000000000003 R11: ffffffff826b4d08 R12: ffff888104c0ffee",
            "R13: 0000000000000000 R14: ffffea0004000040 R15: ffff888101234000",
            "FS:  00007f9e42b44c78(0000) GS:ffff88813bc80000(0000) knlGS:0000000000000000",
            "CS:  0010 DS: 0000 ES: 0000 CR0: 0000000080050033",
            "CR2: 00007f9e42b44c78 CR3: 0000000104c0e000 CR4: 0000000000350ee0",
            "Call Trace:",
            " <TASK>",
        ] {
            line(registers);
        }
        for function in [
            "? __die_body.cold",
            "? die",
            "? do_trap",
            "? split_huge_page_to_list",
            "? do_error_trap",
            "? exc_invalid_op",
            "? asm_exc_invalid_op",
            "deferred_split_scan",
            "do_shrink_slab",
            "shrink_slab",
            "shrink_node",
            "do_try_to_free_pages",
            "try_to_free_mem_cgroup_pages",
            "try_charge_memcg",
            "charge_memcg",
            "__mem_cgroup_charge",
            "do_anonymous_page",
            "__handle_mm_fault",
            "handle_mm_fault",
            "do_user_addr_fault",
            "exc_page_fault",
            "asm_exc_page_fault",
        ] {
            line(&format!(" {function}+0x{:x}/0x{:x}", 16 + n % 4000, 4096 + n % 77));
        }
        line("RIP: 0033:0x7f9e42b44c78");
        line("RSP: 002b:00007f9e42b44c78 EFLAGS: 00000246 ORIG_RAX: 0000000000000010");
        line(" </TASK>");
        line("Modules linked in: zram zsmalloc virtio_blk");
        line("---[ end trace 0000000000000000 ]---");
        line(&format!("RIP: 0010:split_huge_page_to_list_{n}+0x51a/0x15c0"));
    }
    text.into_bytes()
}
