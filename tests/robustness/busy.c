// SPDX-License-Identifier: GPL-2.0-only
// One thread that spins with a known value in every register, and looks whether they are still there (see spin.S).
//
// Beside the registers it looks at the 128 bytes below the stack pointer, which belong to a function too, at the carry
// and direction flags, at errno, at the signal mask and the alternate stack, and at the base of the gs segment.
#include "victim.h"
#include <asm/prctl.h>
#include <stddef.h>
#include <sys/syscall.h>

enum { SSE, AVX, AVX512 };

struct registers {
	uint64_t general[15]; // in the order of GENERAL
	uint64_t flags;
	uint64_t red_zone[16];
	uint64_t x87[8][2];
	uint64_t vector[32][8];
	uint64_t mask[8];
	uint32_t mxcsr, x87_control;
};
_Static_assert(offsetof(struct registers, flags) == 120, "as in spin.S");
_Static_assert(offsetof(struct registers, red_zone) == 128, "as in spin.S");
_Static_assert(offsetof(struct registers, x87) == 256, "as in spin.S");
_Static_assert(offsetof(struct registers, vector) == 384, "as in spin.S");
_Static_assert(offsetof(struct registers, mask) == 2432, "as in spin.S");
_Static_assert(offsetof(struct registers, mxcsr) == 2496, "as in spin.S");

#define CARRY 1u
#define DIRECTION 0x400u
#define SPINS 100000 // some hundred microseconds

struct registers given, found;
uint64_t spins, level;
extern const char spin_start[], spin_end[];
void spin(void);

static const char *const GENERAL[] = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8",
				      "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

static uint64_t noise(void)
{
	static uint64_t state = 88172645463325252u;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static void choose(void)
{
	uint64_t *words = (uint64_t *)&given;
	for (size_t i = 0; i < sizeof given / 8; i++)
		words[i] = noise();
	given.flags = noise() & (CARRY | DIRECTION);
	for (int i = 0; i < 8; i++) { // normal numbers: a set integer bit, an exponent far from both ends
		given.x87[i][0] |= 1ul << 63;
		given.x87[i][1] = 0x3000 + (noise() & 0xfff);
	}
	given.mxcsr = 0x1f80 | (noise() & 0xe03f); // all exceptions masked; rounding, flush to zero and sticky flags vary
	given.x87_control = 0x037f | (noise() & 0x0c00);
	given.x87_control &= 0xffff;
}

static void compare(void)
{
	for (int i = 0; i < 15; i++)
		if (given.general[i] != found.general[i])
			fail("%s is %lx instead of %lx", GENERAL[i], found.general[i], given.general[i]);
	if (given.flags != found.flags)
		fail("flags are %lx instead of %lx", found.flags, given.flags);
	for (int i = 0; i < 16; i++)
		if (given.red_zone[i] != found.red_zone[i])
			fail("red zone: word %d is %lx instead of %lx", i, found.red_zone[i], given.red_zone[i]);
	for (int i = 0; i < 8; i++)
		if (given.x87[i][0] != found.x87[i][0] || given.x87[i][1] != (found.x87[i][1] & 0xffff))
			fail("st(%d) is %lx instead of %lx", i, found.x87[i][0], given.x87[i][0]);
	if (given.x87_control != (found.x87_control & 0xffff))
		fail("x87 control word is %x instead of %x", found.x87_control, given.x87_control);
	if (given.mxcsr != found.mxcsr)
		fail("mxcsr is %x instead of %x", found.mxcsr, given.mxcsr);
	for (int i = 0; i < (level == AVX512 ? 32 : 16); i++)
		if (memcmp(given.vector[i], found.vector[i], 16u << level))
			fail("vector register %d has changed", i);
	for (int i = 0; level == AVX512 && i < 8; i++)
		if (given.mask[i] != found.mask[i])
			fail("k%d is %lx instead of %lx", i, found.mask[i], given.mask[i]);
}

static void check_thread(uint64_t gs_base, const stack_t *stack)
{
	uint64_t mask = 0, gs_base_now = 0;
	stack_t stack_now;
	must(!syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, 8), "rt_sigprocmask");
	if (mask != 1ul << (SIGUSR2 - 1))
		fail("signal mask is %lx", mask);
	must(!syscall(SYS_arch_prctl, ARCH_GET_GS, &gs_base_now), "arch_prctl");
	if (gs_base_now != gs_base)
		fail("gs base is %lx instead of %lx", gs_base_now, gs_base);
	must(!sigaltstack(NULL, &stack_now), "sigaltstack");
	if (stack_now.ss_sp != stack->ss_sp || stack_now.ss_size != stack->ss_size)
		fail("the alternate stack is at %p", stack_now.ss_sp);
}

int main(int argc, char **argv)
{
	must(argc >= 2, "a progress file");
	begin(argv[1]);
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
		level = AVX512;
	else if (__builtin_cpu_supports("avx"))
		level = AVX;
	map_areas();
	sigset_t blocked;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR2);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	static char alternate[1 << 16];
	stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
	must(!sigaltstack(&stack, NULL), "sigaltstack");
	const uint64_t gs_base = (uint64_t)alternate;
	must(!syscall(SYS_arch_prctl, ARCH_SET_GS, gs_base), "arch_prctl");

	char more[128];
	snprintf(more, sizeof more, ", \"spin\": [%lu, %lu], \"level\": %lu", (uint64_t)spin_start, (uint64_t)spin_end,
		 level);
	ready(1, more);
	while (!stopping) {
		choose();
		memset(&found, 0, sizeof found);
		spins = SPINS;
		errno = ENOTTY;
		spin();
		if (errno != ENOTTY)
			fail("errno is %d", errno);
		compare();
		check_thread(gs_base, &stack);
		check_part(progress[0]++);
	}
	check_areas();
	return 0;
}
