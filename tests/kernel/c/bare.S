# SPDX-License-Identifier: GPL-2.0-only
# A program without a library: 64 bits, with one `syscall` but neither `ret` behind it nor a sigreturn; or, built with
# -m32, one of 32 bits. Maps 8 MiB at a fixed address, says where, and answers "ok" to each byte.
.globl _start
#ifdef __x86_64__
.macro call number, first, second, third
    mov $\number, %eax
    mov \first, %rdi
    mov \second, %rsi
    mov $\third, %edx
    lea 1f(%rip), %rbx
    jmp make
1:
.endm
_start:
    mov $34, %r10d
    mov $-1, %r8
    xor %r9d, %r9d
    mov $0x10000000000, %rbp
    mov $0x800000, %r12d
    call 9, %rbp, %r12, 3
    lea where(%rip), %r12
    call 1, $1, %r12, 14
again:
    lea byte(%rip), %r12
    call 0, $0, %r12, 1
    cmp $1, %rax
    jne end
    lea ok(%rip), %r12
    call 1, $1, %r12, 3
    jmp again
end:
    call 60, $0, $0, 0
make:
    syscall
    jmp *%rbx
#else
_start:
    mov $4, %eax
    mov $1, %ebx
    mov $where, %ecx
    mov $14, %edx
    int $0x80
again:
    mov $3, %eax
    mov $0, %ebx
    mov $byte, %ecx
    mov $1, %edx
    int $0x80
    cmp $1, %eax
    jne end
    mov $4, %eax
    mov $1, %ebx
    mov $ok, %ecx
    mov $3, %edx
    int $0x80
    jmp again
end:
    mov $1, %eax
    int $0x80
#endif
.data
where: .ascii "1099511627776\n"
ok: .ascii "ok\n"
byte: .byte 0
.section .note.GNU-stack,"",@progbits
