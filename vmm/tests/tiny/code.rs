//! The guests' code: 64-bit, position-independent, assembled here and taken as bytes from between two labels; and the
//! ELF file that makes a kernel of it.

/// Where the code is loaded and entered.
const ENTRY: u64 = 0x10_0000;

/// An ELF kernel of one segment, entered at its first byte. It has no PVH note.
pub fn elf(code: &[u8]) -> Vec<u8> {
    const HEADERS: u64 = 0x1000;
    let mut elf = Vec::new();
    // e_ident: 64-bit, little-endian; then ET_EXEC, EM_X86_64, version 1.
    elf.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0");
    elf.extend([ENTRY, 64, 0].iter().flat_map(|field| field.to_le_bytes()));
    // e_flags; e_ehsize, e_phentsize, e_phnum, and no sections.
    elf.extend_from_slice(&[0; 4]);
    elf.extend([64u16, 56, 1, 64, 0, 0].iter().flat_map(|field| field.to_le_bytes()));
    // PT_LOAD, readable, writable, executable.
    elf.extend([1u32, 7].iter().flat_map(|field| field.to_le_bytes()));
    let size = code.len() as u64;
    elf.extend([HEADERS, ENTRY, ENTRY, size, size, 0x1000].iter().flat_map(|field| field.to_le_bytes()));
    elf.resize(HEADERS as usize, 0);
    elf.extend_from_slice(code);
    elf
}

macro_rules! guest {
    ($(#[$doc:meta])* $name:ident, $start:ident, $end:ident, $($line:expr),* $(,)?) => {
        std::arch::global_asm!(
            ".pushsection .rodata",
            // Another codegen unit may be the one that refers to them.
            concat!(".globl ", stringify!($start), ", ", stringify!($end)),
            concat!(stringify!($start), ":"),
            $($line,)*
            ".code64",
            concat!(stringify!($end), ":"),
            ".popsection",
        );
        $(#[$doc])*
        pub fn $name() -> &'static [u8] {
            extern "C" {
                static $start: u8;
                static $end: u8;
            }
            let (start, end) = (&raw const $start, &raw const $end);
            // SAFETY: both labels are in the same read-only section, with only this guest's code between them.
            unsafe { std::slice::from_raw_parts(start, end as usize - start as usize) }
        }
    };
}

guest! {
    /// Writes "ok" to the console and "{}" to the events, and resets by the keyboard controller.
    hello, tiny_hello, tiny_hello_end,
    "mov dx, 0x3f8", "mov al, 'o'", "out dx, al", "mov al, 'k'", "out dx, al",
    "mov dx, 0x2f8", "mov al, 0x7b", "out dx, al", "mov al, 0x7d", "out dx, al",
    "mov al, 0xfe", "out 0x64, al", "2: jmp 2b",
}

guest! {
    /// Switches off by ACPI's PM1a control: sleep type 5, sleep enable.
    power_off, tiny_power_off, tiny_power_off_end,
    "mov dx, 0x604", "mov ax, 0x3400", "out dx, ax", "2: jmp 2b",
}

guest! {
    /// Resets by ACPI's reset register.
    acpi_reset, tiny_acpi_reset, tiny_acpi_reset_end,
    "mov dx, 0x60c", "mov al, 1", "out dx, al", "2: jmp 2b",
}

guest! {
    /// An exception, with no descriptor for it or for what that causes.
    triple_fault, tiny_triple_fault, tiny_triple_fault_end,
    "lidt [rip + 3f]", "ud2", "2: jmp 2b", "3: .zero 10",
}

guest! {
    /// Tells pvpanic, and resets as with `panic=-1`.
    panic_and_reset, tiny_panic_and_reset, tiny_panic_and_reset_end,
    "mov dx, 0x505", "mov al, 1", "out dx, al", "mov al, 0xfe", "out 0x64, al", "2: jmp 2b",
}

guest! {
    /// Tells pvpanic, and spins as with `panic=0`.
    panic_and_spin, tiny_panic_and_spin, tiny_panic_and_spin_end,
    "mov dx, 0x505", "mov al, 1", "out dx, al", "2: pause", "jmp 2b",
}

guest! {
    /// Spins.
    spin, tiny_spin, tiny_spin_end,
    "2: pause", "jmp 2b",
}

guest! {
    /// Writes an "r" to the console once it is ready, spins, and resets when an NMI (vector 2) comes.
    nmi, tiny_nmi, tiny_nmi_end,
    "lea rax, [rip + 3f]", "mov word ptr [0x5020], ax", "mov cx, cs", "mov word ptr [0x5022], cx",
    "mov word ptr [0x5024], 0x8e00", "shr rax, 16", "mov word ptr [0x5026], ax", "shr rax, 16",
    "mov dword ptr [0x5028], eax", "mov dword ptr [0x502c], 0", "lidt [rip + 4f]",
    "mov dx, 0x3f8", "mov al, 'r'", "out dx, al", "2: pause", "jmp 2b",
    "3: mov al, 0xfe", "out 0x64, al", "hlt",
    "4: .word 0xfff", ".quad 0x5000",
}

guest! {
    /// Starts all other processors by INIT and SIPI (x2APIC, all but itself); each writes an "x" to the console. Waits
    /// for as many as CPUID's topology leaf counts, and resets.
    smp, tiny_smp, tiny_smp_end,
    "mov ecx, 0x1b", "rdmsr", "or eax, 0xc00", "wrmsr",
    "mov dword ptr [0x7000], 0",
    "lea rsi, [rip + 4f]", "mov edi, 0x8000", "mov ecx, 64", "rep movsb",
    "mov ecx, 0x830", "xor edx, edx", "mov eax, 0xc4500", "wrmsr", "mov eax, 0xc4608", "wrmsr",
    "mov dx, 0x3f8", "mov al, 'x'", "out dx, al", "lock inc dword ptr [0x7000]",
    "mov eax, 0xb", "mov ecx, 1", "cpuid", "movzx ebx, bx",
    "2: pause", "cmp dword ptr [0x7000], ebx", "jne 2b",
    "mov al, 0xfe", "out 0x64, al", "3: jmp 3b",
    ".code16",
    "4: mov dx, 0x3f8", "mov al, 'x'", "out dx, al", "lock inc dword ptr ds:[0x7000]", "5: hlt", "jmp 5b",
    ".zero 64",
}
