//! One program for each instruction that a kernel cannot do without.

use super::*;

/// What a kernel needs, roughly in the order in which it meets it.
pub(in crate::probe) static ALL: &[Program] = &[
    Program {
        instruction: "cpuid",
        code: &[
            &[0x31, 0xc0],                         // xor eax, eax
            &[0x31, 0xc9],                         // xor ecx, ecx
            &[0x0f, 0xa2],                         // cpuid
            &[0x33, 0x9f, 0xf0, 0x0f, 0x00, 0x00], // xor ebx, [rdi + VENDOR - DATA]
            &[0x8d, 0x83, 0x0d, 0x60, 0x00, 0x00], // lea eax, [rbx + 0x600d]
            FINISH,
        ],
        answer: 0x600d,
        ..PLAIN
    },
    Program {
        instruction: "lidt",
        // A limit of 0xfff, a base of 0x2000.
        data: &[(DATA, 0x2000_0fff)],
        code: &[
            &[0x0f, 0x01, 0x1f],       // lidt [rdi]
            &[0x0f, 0x01, 0x4f, 0x10], // sidt [rdi + 16]
            &[0x8b, 0x47, 0x12],       // mov eax, [rdi + 18]
            FINISH,
        ],
        answer: 0x2000,
        ..PLAIN
    },
    Program {
        instruction: "rdmsr",
        code: &[
            &[0xb9, 0x80, 0x00, 0x00, 0xc0], // mov ecx, EFER
            &[0x0f, 0x32],                   // rdmsr
            &[0x25, 0x00, 0x05, 0x00, 0x00], // and eax, LME | LMA
            FINISH,
        ],
        answer: 0x500,
        ..PLAIN
    },
    Program {
        instruction: "wrmsr",
        code: &[
            &[0xb9, 0x82, 0x00, 0x00, 0xc0], // mov ecx, LSTAR
            &[0xb8, 0x78, 0x56, 0x34, 0x12], // mov eax, 0x12345678
            &[0x31, 0xd2],                   // xor edx, edx
            &[0x0f, 0x30],                   // wrmsr
            &[0x31, 0xc0],                   // xor eax, eax
            &[0x0f, 0x32],                   // rdmsr
            FINISH,
        ],
        answer: 0x1234_5678,
        ..PLAIN
    },
    Program {
        instruction: "mov cr3",
        code: &[
            &[0x0f, 0x20, 0xd8], // mov rax, cr3
            &[0x0f, 0x22, 0xd8], // mov cr3, rax
            FINISH,
        ],
        answer: PML4 as u32,
        ..PLAIN
    },
    Program {
        instruction: "invlpg",
        data: &[(PAGE_A, 0xaaaa), (PAGE_B, 0xbbbb)],
        code: &[
            &[0xbe, 0x00, 0x00, 0x20, 0x00],                                     // mov esi, 2 MiB
            &[0x8b, 0x1e],                                                       // mov ebx, [rsi]
            &[0xc7, 0x04, 0x25, 0x00, 0xc0, 0x00, 0x00, 0x07, 0x10, 0x19, 0x00], // mov dword [PT], PAGE_B | 7
            &[0x0f, 0x01, 0x3e],                                                 // invlpg [rsi]
            &[0x8b, 0x06],                                                       // mov eax, [rsi]
            &[0x01, 0xd8],                                                       // add eax, ebx
            FINISH,
        ],
        answer: 0xaaaa + 0xbbbb,
        ..PLAIN
    },
    Program {
        instruction: "rep stosq",
        code: &[
            &[0xb8, 0xcd, 0xab, 0x34, 0x12], // mov eax, 0x1234abcd
            &[0xb9, 0x40, 0x00, 0x00, 0x00], // mov ecx, 64
            &[0xf3, 0x48, 0xab],             // rep stosq
            &[0x31, 0xc0],                   // xor eax, eax
            &[0x8b, 0x47, 0xf8],             // mov eax, [rdi - 8]
            FINISH,
        ],
        answer: 0x1234_abcd,
        ..PLAIN
    },
    Program {
        instruction: "rep movsb",
        data: &[(DATA + 504, 0x5a5a_5a5b_0000_0000)],
        code: &[
            &[0xbe, 0x00, 0x00, 0x18, 0x00], // mov esi, DATA
            &[0xbf, 0x00, 0x10, 0x18, 0x00], // mov edi, DATA + 0x1000
            &[0xb9, 0x00, 0x02, 0x00, 0x00], // mov ecx, 512
            &[0xf3, 0xa4],                   // rep movsb
            &[0x8b, 0x47, 0xfc],             // mov eax, [rdi - 4]
            FINISH,
        ],
        answer: 0x5a5a_5a5b,
        ..PLAIN
    },
    Program {
        instruction: "lock cmpxchg",
        data: &[(DATA, 5)],
        code: &[
            &[0xb8, 0x05, 0x00, 0x00, 0x00], // mov eax, 5
            &[0xbb, 0x09, 0x00, 0x00, 0x00], // mov ebx, 9
            &[0xf0, 0x0f, 0xb1, 0x1f],       // lock cmpxchg [rdi], ebx
            &[0x8b, 0x07],                   // mov eax, [rdi]
            FINISH,
        ],
        answer: 9,
        ..PLAIN
    },
    Program {
        // SLUB's free lists.
        instruction: "cmpxchg16b",
        needs: Some(Feature::Cx16),
        code: &[
            &[0xbb, 0x44, 0x33, 0x22, 0x11], // mov ebx, 0x11223344
            &[0xf0, 0x48, 0x0f, 0xc7, 0x0f], // lock cmpxchg16b [rdi]
            &[0x0f, 0x94, 0xc0],             // setz al
            &[0x0f, 0xb6, 0xc0],             // movzx eax, al
            &[0x03, 0x07],                   // add eax, [rdi]
            FINISH,
        ],
        answer: 0x1122_3345,
        ..PLAIN
    },
    Program {
        instruction: "rdtsc",
        code: &[
            &[0x0f, 0x31],             // rdtsc
            &[0x48, 0xc1, 0xe2, 0x20], // shl rdx, 32
            &[0x48, 0x09, 0xd0],       // or rax, rdx
            &[0x48, 0x89, 0xc3],       // mov rbx, rax
            &[0x0f, 0x31],             // rdtsc
            &[0x48, 0xc1, 0xe2, 0x20], // shl rdx, 32
            &[0x48, 0x09, 0xd0],       // or rax, rdx
            &[0x48, 0x39, 0xd8],       // cmp rax, rbx
            &[0x0f, 0x97, 0xc0],       // seta al
            &[0x0f, 0xb6, 0xc0],       // movzx eax, al
            FINISH,
        ],
        answer: 1,
        ..PLAIN
    },
    Program {
        instruction: "iretq",
        code: &[
            &[0x6a, 0x10],                               // push the data selector
            &[0x54],                                     // push rsp
            &[0x9c],                                     // pushfq
            &[0x6a, 0x08],                               // push the code selector
            &[0x48, 0x8d, 0x05, 0x04, 0x00, 0x00, 0x00], // lea rax, [rip + 4]: behind the hlt
            &[0x50],                                     // push rax
            &[0x48, 0xcf],                               // iretq
            &[0xf4],                                     // hlt
            &[0xb8, 0xe7, 0x01, 0x00, 0x00],             // mov eax, 0x1e7
            FINISH,
        ],
        answer: 0x1e7,
        ..PLAIN
    },
    Program {
        // Text patching, kprobes.
        instruction: "int3",
        vector: Some(3),
        handler: &[
            &[0xbb, 0x33, 0x00, 0x00, 0x00], // mov ebx, 0x33
            &[0x48, 0xcf],                   // iretq
        ],
        code: &[
            &[0xcc],             // int3
            &[0x8d, 0x43, 0x01], // lea eax, [rbx + 1]
            FINISH,
        ],
        answer: 0x34,
        ..PLAIN
    },
    Program {
        // WARN and BUG.
        instruction: "ud2",
        vector: Some(6),
        handler: &[
            &[0x48, 0x83, 0x04, 0x24, 0x02], // add qword [rsp], 2: behind the ud2
            &[0xbb, 0xd2, 0x00, 0x00, 0x00], // mov ebx, 0xd2
            &[0x48, 0xcf],                   // iretq
        ],
        code: &[
            &[0x0f, 0x0b],       // ud2
            &[0x8d, 0x43, 0x01], // lea eax, [rbx + 1]
            FINISH,
        ],
        answer: 0xd3,
        ..PLAIN
    },
    Program {
        instruction: "a page fault",
        vector: Some(14),
        handler: &[
            &[0x0f, 0x20, 0xd3],             // mov rbx, cr2
            &[0x48, 0x83, 0xc4, 0x08],       // add rsp, 8: the error code
            &[0x48, 0x83, 0x04, 0x24, 0x07], // add qword [rsp], 7: behind the load
            &[0x48, 0xcf],                   // iretq
        ],
        code: &[
            &[0x8b, 0x04, 0x25, 0x00, 0x00, 0x60, 0x00], // mov eax, [6 MiB], which is not mapped
            &[0x8d, 0x43, 0x01],                         // lea eax, [rbx + 1]
            FINISH,
        ],
        answer: 0x60_0001,
        ..PLAIN
    },
    Program {
        instruction: "swapgs",
        msrs: &[(KERNEL_GS_BASE, DATA)],
        data: &[(DATA, 0x7e57)],
        code: &[
            &[0x0f, 0x01, 0xf8],                               // swapgs
            &[0x65, 0x8b, 0x04, 0x25, 0x00, 0x00, 0x00, 0x00], // mov eax, gs:[0]
            FINISH,
        ],
        answer: 0x7e57,
        ..PLAIN
    },
    Program {
        // Leaves for ring 3 and comes back, each with the code selector that it has there.
        instruction: "sysret and syscall",
        msrs: &[(STAR, 0x10 << 48 | 0x08 << 32), (LSTAR, HANDLER)],
        code: &[
            &[0xb9, 0x00, 0x20, 0x10, 0x00],       // mov ecx, USER
            &[0x41, 0xbb, 0x02, 0x00, 0x00, 0x00], // mov r11d, 2: RFLAGS
            &[0x48, 0x0f, 0x07],                   // sysretq
        ],
        user: &[
            &[0x8c, 0xcb], // mov ebx, cs
            &[0x0f, 0x05], // syscall
        ],
        handler: &[
            &[0x8c, 0xc8],       // mov eax, cs
            &[0xc1, 0xe0, 0x10], // shl eax, 16
            &[0x01, 0xd8],       // add eax, ebx
            FINISH,
        ],
        answer: 0x08_0023,
        ..PLAIN
    },
    Program {
        instruction: "SSE moves",
        code: &[
            &[0xb8, 0xef, 0xbe, 0xad, 0x0b], // mov eax, 0x0badbeef
            &[0x66, 0x0f, 0x6e, 0xc0],       // movd xmm0, eax
            &[0x66, 0x0f, 0x70, 0xc0, 0x00], // pshufd xmm0, xmm0, 0
            &[0xf3, 0x0f, 0x7f, 0x07],       // movdqu [rdi], xmm0
            &[0x8b, 0x47, 0x0c],             // mov eax, [rdi + 12]
            FINISH,
        ],
        answer: 0x0bad_beef,
        ..PLAIN
    },
    Program {
        instruction: "fxsave",
        code: &[
            &[0xb8, 0x78, 0x56, 0x34, 0x12],       // mov eax, 0x12345678
            &[0x66, 0x0f, 0x6e, 0xc0],             // movd xmm0, eax
            &[0x0f, 0xae, 0x07],                   // fxsave [rdi]
            &[0x8b, 0x87, 0xa0, 0x00, 0x00, 0x00], // mov eax, [rdi + 160]: xmm0
            FINISH,
        ],
        answer: 0x1234_5678,
        ..PLAIN
    },
    Program {
        instruction: "fxrstor",
        // FCW, MXCSR and xmm0.
        data: &[(DATA, 0x37f), (DATA + 24, 0x1f80), (DATA + 160, 0x1234_5678)],
        code: &[
            &[0x0f, 0xae, 0x0f],       // fxrstor [rdi]
            &[0x66, 0x0f, 0x7e, 0xc0], // movd eax, xmm0
            FINISH,
        ],
        answer: 0x1234_5678,
        ..PLAIN
    },
    Program {
        instruction: "xgetbv",
        needs: Some(Feature::Xsave),
        code: &[
            &[0x31, 0xc9],       // xor ecx, ecx
            &[0x0f, 0x01, 0xd0], // xgetbv
            &[0x83, 0xe0, 0x01], // and eax, 1: x87, which is always on
            FINISH,
        ],
        answer: 1,
        ..PLAIN
    },
    Program {
        instruction: "xsetbv",
        needs: Some(Feature::Xsave),
        code: &[
            &[0x31, 0xc9],                   // xor ecx, ecx
            &[0x31, 0xd2],                   // xor edx, edx
            &[0xb8, 0x01, 0x00, 0x00, 0x00], // mov eax, 1: x87 without SSE
            &[0x0f, 0x01, 0xd1],             // xsetbv
            &[0x0f, 0x01, 0xd0],             // xgetbv
            FINISH,
        ],
        answer: 1,
        ..PLAIN
    },
    Program {
        instruction: "xsave",
        needs: Some(Feature::Xsave),
        code: &[
            &[0xb8, 0x78, 0x56, 0x34, 0x12],       // mov eax, 0x12345678
            &[0x66, 0x0f, 0x6e, 0xc0],             // movd xmm0, eax
            &[0xb8, 0x03, 0x00, 0x00, 0x00],       // mov eax, 3: x87 and SSE
            &[0x31, 0xd2],                         // xor edx, edx
            &[0x0f, 0xae, 0x27],                   // xsave [rdi]
            &[0x8b, 0x87, 0xa0, 0x00, 0x00, 0x00], // mov eax, [rdi + 160]: xmm0
            FINISH,
        ],
        answer: 0x1234_5678,
        ..PLAIN
    },
    Program {
        // Every return to user space after a context switch.
        instruction: "xrstor",
        needs: Some(Feature::Xsave),
        // FCW, MXCSR, xmm0, and in the header that only SSE state is not initial.
        data: &[(DATA, 0x37f), (DATA + 24, 0x1f80), (DATA + 160, 0x1234_5678), (DATA + 512, 2)],
        code: &[
            &[0xb8, 0x03, 0x00, 0x00, 0x00], // mov eax, 3: x87 and SSE
            &[0x31, 0xd2],                   // xor edx, edx
            &[0x0f, 0xae, 0x2f],             // xrstor [rdi]
            &[0x66, 0x0f, 0x7e, 0xc0],       // movd eax, xmm0
            FINISH,
        ],
        answer: 0x1234_5678,
        ..PLAIN
    },
];
