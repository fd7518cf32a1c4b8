// SPDX-License-Identifier: GPL-2.0-only
// Changes what a thread has in a register, to see whether a victim notices.
//
//   poke TID FROM TO WHAT     once its rip is in FROM..TO: changes WHAT by a bit
//   poke TID return VALUE     lets the system call it waits in return VALUE
//   poke TID mask             blocks a signal
#define _GNU_SOURCE
#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t tid;

static void must(int success, const char *what)
{
	if (!success) {
		perror(what);
		exit(1);
	}
}

static void interrupt(void)
{
	int status;
	must(!ptrace(PTRACE_INTERRUPT, tid, 0, 0), "PTRACE_INTERRUPT");
	must(waitpid(tid, &status, __WALL) == tid && WIFSTOPPED(status), "waitpid");
	if (status >> 16 != PTRACE_EVENT_STOP) { // a signal came first: pass it on and wait for our own stop
		must(!ptrace(PTRACE_CONT, tid, 0, WSTOPSIG(status)), "PTRACE_CONT");
		must(waitpid(tid, &status, __WALL) == tid && WIFSTOPPED(status), "waitpid");
	}
}

static unsigned component(int number)
{
	unsigned size, offset, c, d;
	must(__get_cpuid_count(0xd, number, &size, &offset, &c, &d) && size, "no such part of the extended state");
	return offset;
}

static const struct {
	const char *name;
	size_t offset;
} GENERAL[] = {
#define REGISTER(name) {#name, offsetof(struct user_regs_struct, name)}
	REGISTER(rax), REGISTER(rbx), REGISTER(rcx), REGISTER(rdx), REGISTER(rsi), REGISTER(rdi), REGISTER(rbp),
	REGISTER(r8),  REGISTER(r9),  REGISTER(r10), REGISTER(r11), REGISTER(r12), REGISTER(r13), REGISTER(r14),
	REGISTER(r15), REGISTER(gs_base),
};

static void change_extended(const char *what)
{
	static uint8_t state[1 << 16];
	struct iovec vector = {state, sizeof state};
	int number;
	unsigned offset;
	if (!strcmp(what, "mxcsr"))
		offset = 25; // a bit of the rounding mode
	else if (!strcmp(what, "x87_control"))
		offset = 1;
	else if (sscanf(what, "st%d", &number) == 1)
		offset = 32 + 16 * number;
	else if (sscanf(what, "xmm%d", &number) == 1)
		offset = 160 + 16 * number;
	else if (sscanf(what, "ymm%d", &number) == 1)
		offset = component(2) + 16 * number;
	else if (sscanf(what, "k%d", &number) == 1)
		offset = component(5) + 8 * number;
	else if (sscanf(what, "zmm%d", &number) == 1)
		offset = number < 16 ? component(6) + 32 * number : component(7) + 64 * (number - 16);
	else {
		fprintf(stderr, "there is no %s\n", what);
		exit(1);
	}
	must(!ptrace(PTRACE_GETREGSET, tid, NT_X86_XSTATE, &vector), "PTRACE_GETREGSET");
	state[offset] ^= strcmp(what, "x87_control") ? 0x20 : 0x04;
	must(!ptrace(PTRACE_SETREGSET, tid, NT_X86_XSTATE, &vector), "PTRACE_SETREGSET");
}

static void change(const char *what)
{
	struct user_regs_struct registers;
	must(!ptrace(PTRACE_GETREGS, tid, 0, &registers), "PTRACE_GETREGS");
	if (!strcmp(what, "red_zone")) {
		uint64_t address = registers.rsp - 64;
		long word = ptrace(PTRACE_PEEKDATA, tid, address, 0);
		must(!ptrace(PTRACE_POKEDATA, tid, address, word ^ 1), "PTRACE_POKEDATA");
		return;
	}
	size_t i, count = sizeof GENERAL / sizeof GENERAL[0];
	for (i = 0; i < count && strcmp(GENERAL[i].name, what); i++)
		;
	if (i < count)
		*(uint64_t *)((char *)&registers + GENERAL[i].offset) ^= 1ul << 20;
	else if (!strcmp(what, "carry"))
		registers.eflags ^= 1;
	else if (!strcmp(what, "direction"))
		registers.eflags ^= 0x400;
	else {
		change_extended(what);
		return;
	}
	must(!ptrace(PTRACE_SETREGS, tid, 0, &registers), "PTRACE_SETREGS");
}

// Whether it was in a system call.
static int return_value(long value)
{
	struct user_regs_struct registers;
	must(!ptrace(PTRACE_GETREGS, tid, 0, &registers), "PTRACE_GETREGS");
	if ((long)registers.orig_rax < 0)
		return 0;
	registers.rax = value;
	registers.orig_rax = -1;
	must(!ptrace(PTRACE_SETREGS, tid, 0, &registers), "PTRACE_SETREGS");
	return 1;
}

static int in(uint64_t from, uint64_t to)
{
	struct user_regs_struct registers;
	must(!ptrace(PTRACE_GETREGS, tid, 0, &registers), "PTRACE_GETREGS");
	return registers.rip >= from && registers.rip < to;
}

int main(int argc, char **argv)
{
	must(argc >= 3, "arguments");
	tid = atoi(argv[1]);
	must(!ptrace(PTRACE_SEIZE, tid, 0, 0), "PTRACE_SEIZE");
	for (int done = 0; !done;) {
		interrupt();
		if (argc == 3) {
			uint64_t mask = 1ul << (SIGWINCH - 1);
			must(!ptrace(PTRACE_SETSIGMASK, tid, 8, &mask), "PTRACE_SETSIGMASK");
			done = 1;
		} else if (argc == 4) {
			done = return_value(atol(argv[3]));
		} else if (in(strtoul(argv[2], NULL, 0), strtoul(argv[3], NULL, 0))) {
			change(argv[4]);
			done = 1;
		}
		must(!ptrace(done ? PTRACE_DETACH : PTRACE_CONT, tid, 0, 0), "let it go on");
		if (!done)
			usleep(1000);
	}
	return 0;
}
