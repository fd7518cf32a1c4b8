// SPDX-License-Identifier: GPL-2.0-only
// Says where it has 256 pages, and sleeps from then on. Whoever shares its memory, a "thread" or a "process" of its own,
// writes to all of them for each byte on stdin, and says so.
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { PAGE = 4096, NR_PAGES = 256, STACK = 1 << 16 };

static volatile char *area;

static int lodge(void *unused) {
    char byte;
    (void)unused;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (read(0, &byte, 1) == 1) {
        for (int i = 0; i < NR_PAGES; i++) area[i * PAGE] = byte;
        if (write(1, "done\n", 5) != 5) break;
    }
    return 0;
}

int main(int argc, char **argv) {
    int thread = argc > 1 && !strcmp(argv[1], "thread");
    char *stack = malloc(STACK);
    area = mmap(0, NR_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!stack || area == MAP_FAILED) return 1;
    for (int i = 0; i < NR_PAGES; i++) area[i * PAGE] = 1;
    printf("%lu\n", (unsigned long)area);
    fflush(stdout);
    if (clone(lodge, stack + STACK, CLONE_VM | (thread ? CLONE_SIGHAND | CLONE_THREAD : SIGCHLD), 0) < 0) return 1;
    for (;;) pause();
}
