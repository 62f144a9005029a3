//! The guests' programs: machine code, one instruction a line, and what each must answer.
//!
//! A program starts in ring 0 of 64-bit mode with RDI at [`DATA`], all other registers zero and interrupts off. It
//! gives its answer in EAX with [`FINISH`]. An exception that it does not expect ends at [`REPORT_VECTOR`].

mod table;

pub(super) use table::ALL;

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::Kvm;

/// Where the answer is written to, as 32 bits.
pub(super) const ANSWER_PORT: u16 = 0xf4;
/// Where an unexpected exception's vector is written to, as 8 bits.
pub(super) const VECTOR_PORT: u16 = 0xf5;

/// Where a program starts.
pub(super) const CODE: u64 = 0x10_0000;
/// Its exception handler, or the target of SYSCALL.
pub(super) const HANDLER: u64 = 0x10_1000;
/// Its code for ring 3.
pub(super) const USER: u64 = 0x10_2000;
/// Its data, zero but for what it brings along; aligned as XSAVE wants it.
pub(super) const DATA: u64 = 0x18_0000;
/// The first four bytes of the vendor's name in the guest's CPUID.
pub(super) const VENDOR: u64 = DATA + 0xff0;
/// What the virtual page at 2 MiB maps at first.
pub(super) const PAGE_A: u64 = 0x19_0000;
/// What the program for INVLPG maps there then.
const PAGE_B: u64 = 0x19_1000;
/// The root of the page tables.
pub(super) const PML4: u64 = 0x9000;
/// The page table of the virtual page at 2 MiB.
pub(super) const PT: u64 = 0xc000;

const STAR: u32 = 0xc000_0081;
const LSTAR: u32 = 0xc000_0082;
const KERNEL_GS_BASE: u32 = 0xc000_0102;

/// Ends a program.
const FINISH: &[u8] = &[
    0x66, 0xba, 0xf4, 0x00, // mov dx, ANSWER_PORT
    0xef, // out dx, eax
    0xf4, // hlt
];

/// Ends a program from an exception whose vector is in AL.
pub(super) const REPORT_VECTOR: &[u8] = &[
    0xe6, 0xf5, // out VECTOR_PORT, al
    0xf4, // hlt
];

/// A guest's program.
pub(super) struct Program {
    /// What it tries.
    pub instruction: &'static str,
    /// What the CPU must have for it.
    pub needs: Option<Feature>,
    /// At [`CODE`].
    pub code: &'static [&'static [u8]],
    /// At [`HANDLER`].
    pub handler: &'static [&'static [u8]],
    /// At [`USER`].
    pub user: &'static [&'static [u8]],
    /// The exception that goes to `handler`.
    pub vector: Option<u8>,
    /// Eight bytes each, at these addresses.
    pub data: &'static [(u64, u64)],
    /// Set before it starts.
    pub msrs: &'static [(u32, u64)],
    /// What it must answer.
    pub answer: u32,
}

/// What a CPU may lack, and a kernel then does without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feature {
    /// CMPXCHG16B.
    Cx16,
    /// XSAVE, XRSTOR, XGETBV, XSETBV.
    Xsave,
}

impl Feature {
    /// Whether the guest's CPUID has it.
    pub fn offered(self, cpuid: &CpuId) -> bool {
        let bit = match self {
            Self::Cx16 => 13,
            Self::Xsave => 26,
        };
        cpuid.as_slice().iter().any(|leaf| leaf.function == 1 && leaf.ecx & 1 << bit != 0)
    }
}

impl Program {
    /// Whether this KVM says that it has what the program tries.
    pub fn offered(&self, kvm: &Kvm) -> bool {
        let Some(feature) = self.needs else { return true };
        kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).is_ok_and(|cpuid| feature.offered(&cpuid))
    }
}

const PLAIN: Program = Program {
    instruction: "",
    needs: None,
    code: &[],
    handler: &[],
    user: &[],
    vector: None,
    data: &[],
    msrs: &[],
    answer: 0,
};

/// The timed loop: as many turns as the number at [`DATA`] says; then it answers, and starts anew when it is resumed.
pub(super) static LOOP: Program = Program {
    instruction: "a counted loop",
    code: &[
        &[0x8b, 0x0f],                         // mov ecx, [rdi]
        &[0xff, 0xc9],                         // dec ecx
        &[0x75, 0xfc],                         // jnz to the dec
        &[0x8d, 0x81, 0x0d, 0x60, 0x00, 0x00], // lea eax, [rcx + 0x600d]
        &[0x66, 0xba, 0xf4, 0x00],             // mov dx, ANSWER_PORT
        &[0xef],                               // out dx, eax
        &[0xeb, 0xed],                         // jmp to the start
    ],
    answer: 0x600d,
    ..PLAIN
};

/// Never ends.
#[cfg(test)]
pub(super) static ENDLESS: Program = Program {
    instruction: "jmp",
    code: &[&[0xeb, 0xfe]], // jmp to itself
    ..PLAIN
};

/// Whether KVM hears of XSETBV: CPUID's size of the state in force must follow. QEMU 7.2's emulated SVM does not
/// intercept it, and a kernel there finds the size inconsistent (arch/x86/kernel/fpu/xstate.c, paranoid_xstate_size_valid),
/// which is a WARNING that no kernel under test is to blame for.
pub(super) static XSETBV_HEARD: Program = Program {
    instruction: "cpuid after xsetbv",
    needs: Some(Feature::Xsave),
    code: &[
        &[0xb8, 0x0d, 0x00, 0x00, 0x00],       // mov eax, 0xd
        &[0x31, 0xc9],                         // xor ecx, ecx
        &[0x0f, 0xa2],                         // cpuid: EAX is what XCR0 may hold
        &[0x83, 0xe0, 0x07],                   // and eax, 7: x87, SSE, AVX
        &[0x89, 0xc6],                         // mov esi, eax
        &[0x31, 0xc9],                         // xor ecx, ecx
        &[0x31, 0xd2],                         // xor edx, edx
        &[0x0f, 0x01, 0xd1],                   // xsetbv
        &[0xb8, 0x0d, 0x00, 0x00, 0x00],       // mov eax, 0xd
        &[0x31, 0xc9],                         // xor ecx, ecx
        &[0x0f, 0xa2],                         // cpuid: EBX is the size for what XCR0 holds
        &[0xb8, 0x0d, 0x60, 0x00, 0x00],       // mov eax, 0x600d
        &[0xf7, 0xc6, 0x04, 0x00, 0x00, 0x00], // test esi, 4: without AVX the size never changes
        &[0x74, 0x0a],                         // jz to the end
        &[0x81, 0xfb, 0x40, 0x02, 0x00, 0x00], // cmp ebx, 576: the size without AVX
        &[0x75, 0x02],                         // jne to the end
        &[0x31, 0xc0],                         // xor eax, eax
        FINISH,
    ],
    answer: 0x600d,
    ..PLAIN
};
