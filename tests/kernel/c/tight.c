// SPDX-License-Identifier: GPL-2.0-only
// Says where it has 64 pages, and reads the first 8 of them all the time; nothing else, hence built without a library:
// with -ffreestanding -nostdlib -static, and -m32 for a 32-bit program. With -DSHARED a child maps them as well.
enum { PAGE = 4096, NR_PAGES = 64, NR_HOT = 8, PROTECTION = 3, SHARED_ANONYMOUS = 0x21, PRIVATE_ANONYMOUS = 0x22 };

#ifdef SHARED
enum { FLAGS = SHARED_ANONYMOUS };
#else
enum { FLAGS = PRIVATE_ANONYMOUS };
#endif

#ifdef __i386__
enum { WRITE = 4, FORK = 2, PAUSE = 29 };
static long call(long number, long first, const void *second, long third) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third) : "memory");
    return result;
}
static char *map(void) {
    long arguments[] = {0, NR_PAGES * PAGE, PROTECTION, FLAGS, -1, 0};
    return (char *)call(90, (long)arguments, 0, 0);
}
#else
enum { WRITE = 1, FORK = 57, PAUSE = 34 };
static long call(long number, long first, const void *second, long third) {
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(first), "S"(second), "d"(third)
                     : "rcx", "r11", "memory");
    return result;
}
static char *map(void) {
    register long flags __asm__("r10") = FLAGS, fd __asm__("r8") = -1, offset __asm__("r9") = 0;
    char *result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(9), "D"(0), "S"(NR_PAGES * PAGE), "d"(PROTECTION), "r"(flags), "r"(fd), "r"(offset)
                     : "rcx", "r11", "memory");
    return result;
}
#endif

static void read_pages(volatile char *start, int count) {
    for (int i = 0; i < count; i++) (void)start[i * PAGE];
}

static void say(unsigned long number) {
    char text[24], *first = text + sizeof text;
    *--first = '\n';
    do *--first = '0' + number % 10;
    while (number /= 10);
    call(WRITE, 1, first, text + sizeof text - first);
}

void _start(void) {
    char *area = map();
    for (int i = 0; i < NR_PAGES; i++) area[i * PAGE] = i + 1;
#ifdef SHARED
    if (call(FORK, 0, 0, 0) == 0) {
        read_pages(area, NR_PAGES);
        for (;;) call(PAUSE, 0, 0, 0);
    }
#endif
    say((unsigned long)area);
    for (;;) read_pages(area, NR_HOT);
}
