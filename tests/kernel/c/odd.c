// SPDX-License-Identifier: GPL-2.0-only
// Programs that are hard to make a call in. Says which memory may be advised; answers "ok" to each byte, while it can.
//
// Usage: odd plain|epoll|vfork|strict|tiny|handler|fork, with the filter to install, as text in hex, where there is one
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

enum { AREA = 8 << 20 };
static uint8_t *area;
static volatile int handled;
static ucontext_t main_context, tiny_context;

static void handle(int number) { handled++; }

static void say(const char *text) {
    if (write(1, text, strlen(text)) < 0) _exit(1);
}

static void serve(void) {
    char byte;
    for (;;) {
        long got = read(0, &byte, 1);
        if (got == 0) _exit(0);
        if (got < 0) {
            char text[64];
            snprintf(text, sizeof text, "errno %d handled %d\n", errno, handled);
            say(text);
            continue;
        }
        for (int i = 0; i < AREA; i += 64)
            if (area[i] != (uint8_t)(i / 4096 + 1)) say("damaged\n");
        say("ok\n");
    }
}

static void install(const char *hex) {
    struct sock_filter program[4096];
    struct sock_fprog whole = {strlen(hex) / 16, program};
    for (size_t i = 0; i < strlen(hex) / 2; i++) sscanf(hex + 2 * i, "%2hhx", (uint8_t *)program + i);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &whole)) perror("seccomp");
}

int main(int argc, char **argv) {
    const char *mode = argv[1];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    uint8_t *whole = mmap(0, AREA + (2 << 20), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    area = (uint8_t *)(((uintptr_t)whole + (2 << 20) - 1) & -(2ul << 20));
    for (int i = 0; i < AREA; i++) area[i] = i / 4096 + 1;
    for (int i = 2; i < argc; i++) install(argv[i]);
    char text[32];
    snprintf(text, sizeof text, "%lu\n", (unsigned long)area);
    if (!strcmp(mode, "strict")) prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
    say(text);
    if (!strcmp(mode, "vfork")) {
        if (vfork() == 0) {
            char byte;
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (read(0, &byte, 1) == 1) _exit(0);
            _exit(1);
        }
        say("ok\n");
    } else if (!strcmp(mode, "tiny")) {
        getcontext(&tiny_context);
        tiny_context.uc_stack = (stack_t){.ss_sp = malloc(65536), .ss_size = 65536};
        tiny_context.uc_link = &main_context;
        makecontext(&tiny_context, serve, 0);
        swapcontext(&main_context, &tiny_context);
    } else if (!strcmp(mode, "handler")) {
        struct sigaction action = {.sa_handler = handle};
        sigaction(SIGUSR1, &action, NULL);
    } else if (!strcmp(mode, "epoll")) {
        signal(SIGUSR1, handle);  // restarts calls, but never this one
        struct epoll_event event = {.events = EPOLLIN}, happened;
        int epoll = epoll_create1(0);
        epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event);
        for (;;) {
            char byte;
            if (epoll_wait(epoll, &happened, 1, 1000000) < 0) say("errno\n");
            else if (read(0, &byte, 1) == 1) say("ok\n");
            else _exit(0);
        }
    } else if (!strcmp(mode, "fork")) {
        for (int i = 0; i < 2000; i++) {
            pid_t child = fork();
            if (child == 0) _exit(0);
            waitpid(child, NULL, 0);
        }
        execl("/proc/self/exe", argv[0], "plain", NULL);
    }
    serve();
}
