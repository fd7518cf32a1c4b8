// SPDX-License-Identifier: GPL-2.0-only
// A program that sees whether anybody has touched its registers. Says which memory may be advised; then, again and
// again, goes into one system call (or runs) with a pattern in all registers and below its stack pointer, and compares
// when it comes back. For each byte that it gets it answers with one line, "ok" or what was wrong; "EINTR" when all was
// well but a call ended so.
//
// Usage: witness run|nanosleep|poll|epoll|futex|read
#include <cpuid.h>
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { RAX, RDI, RSI, RDX, R10, R8, R9, RBX, RBP, R12, R13, R14, R15, FLAGS, RSP, WORDS };
enum { RED_ZONE_WORDS = 16, AREA = 8 << 20, XSTATE = 16384, HEADER = 512, HEADER_END = 576 };

uint64_t before[WORDS], after[WORDS], red_zone[RED_ZONE_WORDS], vectors[8];
uint8_t xstate_before[XSTATE] __attribute__((aligned(64))), xstate_after[XSTATE] __attribute__((aligned(64)));
uint64_t spins;

// Loads `before`, makes the system call, or, where `spins` is not 0, runs; fills `after`, `red_zone` and xstate_*.
void guarded(void);
__asm__(".text\n.globl guarded\nguarded:\n"
        "push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
        "mov %rsp, before+14*8(%rip)\n"
        "vmovdqu vectors(%rip), %ymm0\n vmovdqu vectors+32(%rip), %ymm7\n vmovdqu vectors+8(%rip), %ymm15\n"
        "mov $16, %rcx\n"
        "1: mov %rcx, %rax\n imul before+7*8(%rip), %rax\n neg %rcx\n mov %rax, (%rsp,%rcx,8)\n neg %rcx\n loop 1b\n"
        "mov $-1, %eax\n mov $-1, %edx\n xsave64 xstate_before(%rip)\n"
        "mov before(%rip), %rax\n mov before+1*8(%rip), %rdi\n mov before+2*8(%rip), %rsi\n"
        "mov before+3*8(%rip), %rdx\n mov before+4*8(%rip), %r10\n mov before+5*8(%rip), %r8\n"
        "mov before+6*8(%rip), %r9\n mov before+7*8(%rip), %rbx\n mov before+8*8(%rip), %rbp\n"
        "mov before+9*8(%rip), %r12\n mov before+10*8(%rip), %r13\n mov before+11*8(%rip), %r14\n"
        "mov before+12*8(%rip), %r15\n mov spins(%rip), %rcx\n"
        "jrcxz 2f\n stc\n 3: lea -1(%rcx), %rcx\n jrcxz 4f\n jmp 3b\n"
        "2: stc\n syscall\n"
        "4: mov %rax, after(%rip)\n mov %rdi, after+1*8(%rip)\n mov %rsi, after+2*8(%rip)\n"
        "mov %rdx, after+3*8(%rip)\n mov %r10, after+4*8(%rip)\n mov %r8, after+5*8(%rip)\n"
        "mov %r9, after+6*8(%rip)\n mov %rbx, after+7*8(%rip)\n mov %rbp, after+8*8(%rip)\n"
        "mov %r12, after+9*8(%rip)\n mov %r13, after+10*8(%rip)\n mov %r14, after+11*8(%rip)\n"
        "mov %r15, after+12*8(%rip)\n setc after+13*8(%rip)\n mov %rsp, after+14*8(%rip)\n"
        "lea red_zone(%rip), %rdi\n mov $16, %rcx\n"
        "5: neg %rcx\n mov (%rsp,%rcx,8), %rax\n neg %rcx\n mov %rax, -8(%rdi,%rcx,8)\n loop 5b\n"
        "mov $-1, %eax\n mov $-1, %edx\n xsave64 xstate_after(%rip)\n"
        "vzeroupper\n"
        "pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n");

static uint8_t *area;
static uint32_t word;
static stack_t stack;
static sigset_t mask;

static void fail(const char *what, long got) {
    printf("%s %ld\n", what, got);
    fflush(stdout);
    exit(1);
}

static void *wake(void *unused) {
    char byte;
    while (read(0, &byte, 1) == 1) {
        __atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
        syscall(SYS_futex, &word, FUTEX_WAKE, 1);
    }
    exit(0);
}

static void check(long expected) {
    before[FLAGS] = 1;
    if ((long)after[RAX] != expected) fail("result", after[RAX]);
    for (int i = RDI; i < WORDS; i++)
        if (before[i] != after[i]) fail("register", i);
    for (uint64_t i = 0; i < RED_ZONE_WORDS; i++)
        if (red_zone[i] != (i + 1) * before[RBX]) fail("red zone", -8 * (long)(i + 1));
    for (int i = 0; i < XSTATE; i++) {
        if ((i >= 4 && i < 24) || (i >= 464 && i < HEADER_END)) continue;  // last x87 instruction; header
        if (xstate_before[i] != xstate_after[i]) fail("vector state", i);
    }
    stack_t now_stack;
    sigset_t now_mask;
    sigaltstack(NULL, &now_stack);
    sigprocmask(SIG_BLOCK, NULL, &now_mask);
    if (memcmp(&now_stack, &stack, sizeof stack)) fail("sigaltstack", now_stack.ss_flags);
    if (memcmp(&now_mask, &mask, 8)) fail("signal mask", 0);
    for (int i = 0; i < AREA; i += 64)
        if (area[i] != (uint8_t)(i / 4096 + 1)) fail("content", i);
}

int main(int argc, char **argv) {
    const char *mode = argv[1];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    uint8_t *whole = mmap(0, AREA + (2 << 20), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    area = (uint8_t *)(((uintptr_t)whole + (2 << 20) - 1) & -(2ul << 20));
    for (int i = 0; i < AREA; i++) area[i] = i / 4096 + 1;
    stack = (stack_t){.ss_sp = malloc(SIGSTKSZ * 4), .ss_size = SIGSTKSZ * 4};
    sigaltstack(&stack, NULL);
    sigaltstack(NULL, &stack);
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN}, happened;
    epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event);
    struct pollfd polled = {0, POLLIN, 0};
    struct timespec short_time = {0, 30000000}, long_time = {1000, 0};
    char byte;
    int interrupted = 0;
    printf("%lu\n", (unsigned long)area);
    fflush(stdout);
    if (!strcmp(mode, "futex")) {
        pthread_t thread;
        pthread_create(&thread, NULL, wake, NULL);
    }
    for (uint64_t n = 1;; n++) {
        for (int i = 0; i < WORDS; i++) before[i] = after[i] = n * 0x9E3779B97F4A7C15 + i;
        for (int i = 0; i < 8; i++) vectors[i] = before[RBX] * (i + 3);
        after[FLAGS] = 0;
        long expected = 0, number = 0;
        uint64_t arguments[6] = {0};
        if (!strcmp(mode, "nanosleep")) {
            number = SYS_nanosleep;
            arguments[0] = (uint64_t)&short_time;
        } else if (!strcmp(mode, "poll")) {
            number = SYS_poll, expected = 1;
            arguments[0] = (uint64_t)&polled, arguments[1] = 1, arguments[2] = 1000000;
        } else if (!strcmp(mode, "epoll")) {
            number = SYS_epoll_wait, expected = 1;
            arguments[0] = epoll, arguments[1] = (uint64_t)&happened, arguments[2] = 1, arguments[3] = 1000000;
        } else if (!strcmp(mode, "futex")) {
            number = SYS_futex;
            arguments[0] = (uint64_t)&word, arguments[1] = FUTEX_WAIT, arguments[3] = (uint64_t)&long_time;
        } else if (!strcmp(mode, "read")) {
            number = SYS_read, expected = 1;
            arguments[1] = (uint64_t)&byte, arguments[2] = 1;
        } else {
            spins = 3000000;
            number = n, expected = n;
        }
        before[RAX] = number;
        memcpy(&before[RDI], arguments, sizeof arguments);
        guarded();
        if (!strcmp(mode, "read") && after[RAX] == 0) return 0;  // the test has ended
        if ((long)after[RAX] == -EINTR) {
            interrupted = 1;
            check(-EINTR);
            continue;
        }
        // A wait that is begun again when the word has changed meanwhile ends so, with or without us.
        if (!strcmp(mode, "futex") && (long)after[RAX] == -EAGAIN && word) expected = -EAGAIN;
        check(expected);
        if (!strcmp(mode, "futex")) {
            __atomic_store_n(&word, 0, __ATOMIC_SEQ_CST);
        } else if (!strcmp(mode, "run") || !strcmp(mode, "nanosleep")) {
            if (poll(&polled, 1, 0) == 0) continue;
        }
        if (strcmp(mode, "read") && strcmp(mode, "futex") && read(0, &byte, 1) != 1) return 0;
        puts(interrupted ? "EINTR" : "ok");
        interrupted = 0;
        fflush(stdout);
    }
}
