// SPDX-License-Identifier: GPL-2.0-only
// void spin(void): load every register from `given`, spin, store every register to `found`.
//
// While it spins nothing of it is in a register but rip and rsp: the count `spins` is in memory. It obeys the ABI and
// leaves the 128 bytes below rsp alone but for its own values. `level`: 0 SSE, 1 AVX, 2 AVX-512.
#define FLAGS 120
#define RED_ZONE 128
#define X87 256
#define VECTOR 384
#define MASK 2432
#define MXCSR 2496
#define X87_CONTROL 2500
#define TO_15 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
#define TO_31 TO_15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
#define DOWN_7 7,6,5,4,3,2,1,0

	.text
	.globl spin, spin_start, spin_end
	.type spin, @function
spin:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	sub $8, %rsp
	fnstcw (%rsp)
	stmxcsr 4(%rsp)
	lea given(%rip), %rdi

	fninit
	fldcw X87_CONTROL(%rdi)
	.irp n, DOWN_7
	fldt X87+16*\n(%rdi)
	.endr
	ldmxcsr MXCSR(%rdi)
	cmpq $1, level(%rip)
	jb 1f
	je 2f
	.irp n, TO_31
	vmovdqu64 VECTOR+64*\n(%rdi), %zmm\n
	.endr
	.irp n, 0,1,2,3,4,5,6,7
	kmovq MASK+8*\n(%rdi), %k\n
	.endr
	jmp 3f
2:	.irp n, TO_15
	vmovdqu VECTOR+64*\n(%rdi), %ymm\n
	.endr
	jmp 3f
1:	.irp n, TO_15
	movdqu VECTOR+64*\n(%rdi), %xmm\n
	.endr

	// From here on nothing may touch the flags or push.
3:	push FLAGS(%rdi)
	popfq
	.irp n, TO_15
	mov RED_ZONE+8*\n(%rdi), %rax
	mov %rax, -128+8*\n(%rsp)
	.endr
	mov (%rdi), %rax
	mov 8(%rdi), %rbx
	mov 16(%rdi), %rcx
	mov 24(%rdi), %rdx
	mov 32(%rdi), %rsi
	mov 48(%rdi), %rbp
	mov 56(%rdi), %r8
	mov 64(%rdi), %r9
	mov 72(%rdi), %r10
	mov 80(%rdi), %r11
	mov 88(%rdi), %r12
	mov 96(%rdi), %r13
	mov 104(%rdi), %r14
	mov 112(%rdi), %r15
	mov 40(%rdi), %rdi
spin_start:
	decq spins(%rip) // keeps the carry
	jnz spin_start
spin_end:
	mov %rax, found(%rip)
	mov %rbx, found+8(%rip)
	mov %rcx, found+16(%rip)
	mov %rdx, found+24(%rip)
	mov %rsi, found+32(%rip)
	mov %rdi, found+40(%rip)
	mov %rbp, found+48(%rip)
	mov %r8, found+56(%rip)
	mov %r9, found+64(%rip)
	mov %r10, found+72(%rip)
	mov %r11, found+80(%rip)
	mov %r12, found+88(%rip)
	mov %r13, found+96(%rip)
	mov %r14, found+104(%rip)
	mov %r15, found+112(%rip)
	lea found(%rip), %rdi
	.irp n, TO_15
	mov -128+8*\n(%rsp), %rax
	mov %rax, RED_ZONE+8*\n(%rdi)
	.endr
	pushfq
	pop %rax
	cld
	and $0x401, %rax
	mov %rax, FLAGS(%rdi)

	cmpq $1, level(%rip)
	jb 1f
	je 2f
	.irp n, TO_31
	vmovdqu64 %zmm\n, VECTOR+64*\n(%rdi)
	.endr
	.irp n, 0,1,2,3,4,5,6,7
	kmovq %k\n, MASK+8*\n(%rdi)
	.endr
	vzeroupper
	jmp 3f
2:	.irp n, TO_15
	vmovdqu %ymm\n, VECTOR+64*\n(%rdi)
	.endr
	vzeroupper
	jmp 3f
1:	.irp n, TO_15
	movdqu %xmm\n, VECTOR+64*\n(%rdi)
	.endr
3:	fnstcw X87_CONTROL(%rdi)
	stmxcsr MXCSR(%rdi)
	.irp n, 0,1,2,3,4,5,6,7
	fstpt X87+16*\n(%rdi)
	.endr

	fninit
	fldcw (%rsp)
	ldmxcsr 4(%rsp)
	add $8, %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret
	.size spin, .-spin
	.section .note.GNU-stack, "", @progbits
