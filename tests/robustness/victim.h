// SPDX-License-Identifier: GPL-2.0-only
// What all victims share: memory with content that can be checked, progress that can be read, and an honest end.
//
// A victim is called with the path of its progress file, a table of 64 counters of 8 bytes, and a mode. It prints one
// line of JSON when it is ready. Whatever is wrong ends it at once with a line on stderr. SIGTERM lets it check
// everything once more and end with 0.
#ifndef VICTIM_H
#define VICTIM_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { NR_AREAS = 3, NR_COUNTERS = 64 };
#define AREA_BYTES (4ul << 20)
#define CHUNK_BYTES (64ul << 10)
#define FIRST_AREA 0x100000000000ul // far from all the kernel chooses itself
#define AREA_STEP (AREA_BYTES + (2ul << 20))

static volatile uint64_t *progress;
static volatile sig_atomic_t stopping;

__attribute__((format(printf, 1, 2), noreturn, unused)) static void fail(const char *format, ...)
{
	char line[256];
	va_list arguments;
	va_start(arguments, format);
	int length = vsnprintf(line, sizeof line - 1, format, arguments);
	va_end(arguments);
	if (length > (int)sizeof line - 2)
		length = sizeof line - 2;
	line[length++] = '\n';
	if (write(2, line, length) < 0)
		_exit(4);
	_exit(3);
}

static void must(int success, const char *what)
{
	if (!success)
		fail("%s: %s", what, strerror(errno));
}

static uint64_t *area(int number)
{
	return (uint64_t *)(FIRST_AREA + number * AREA_STEP);
}

static uint64_t content(uint64_t address)
{
	return (address ^ 0x5bd1e995u) * 0x9e3779b97f4a7c15u;
}

__attribute__((unused)) static void map_areas(void)
{
	for (int number = 0; number < NR_AREAS; number++) {
		uint64_t *words = mmap(area(number), AREA_BYTES, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		must(words == area(number), "map an area");
		for (size_t i = 0; i < AREA_BYTES / 8; i++)
			words[i] = content((uint64_t)&words[i]);
	}
}

static void check_bytes(const volatile uint64_t *words, size_t size)
{
	for (size_t i = 0; i < size / 8; i++)
		if (words[i] != content((uint64_t)&words[i]))
			fail("memory: the word at %p is %lx", (void *)&words[i], words[i]);
}

// Checks one part of the areas, another with each turn.
static void check_part(uint64_t turn)
{
	const uint64_t chunks = AREA_BYTES / CHUNK_BYTES, chunk = turn % (NR_AREAS * chunks);
	check_bytes(area(chunk / chunks) + chunk % chunks * CHUNK_BYTES / 8, CHUNK_BYTES);
}

__attribute__((unused)) static void check_areas(void)
{
	for (int number = 0; number < NR_AREAS; number++)
		check_bytes(area(number), AREA_BYTES);
}

static void stop(int signal_number)
{
	(void)signal_number;
	stopping = 1;
}

__attribute__((unused)) static void begin(const char *path)
{
	must(!prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl");
	int fd = open(path, O_RDWR | O_CLOEXEC);
	must(fd >= 0, "open the progress file");
	progress = mmap(NULL, NR_COUNTERS * 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(progress != MAP_FAILED, "map the progress file");
	close(fd);
	struct sigaction action = {.sa_handler = stop, .sa_flags = SA_RESTART};
	must(!sigaction(SIGTERM, &action, NULL), "sigaction");
}

// `more` is put into the line of JSON as it is: empty, or beginning with a comma.
__attribute__((unused)) static void ready(int nr_counters, const char *more)
{
	printf("{\"pid\": %d, \"counters\": %d, \"areas\": [", getpid(), nr_counters);
	for (int number = 0; number < NR_AREAS; number++)
		printf("%s[%lu, %lu]", number ? ", " : "", (uint64_t)area(number), (uint64_t)area(number) + AREA_BYTES);
	printf("]%s}\n", more);
	fflush(stdout);
}

__attribute__((unused)) static int64_t now_us(clockid_t clock)
{
	struct timespec time;
	clock_gettime(clock, &time);
	return time.tv_sec * 1000000 + time.tv_nsec / 1000;
}
#endif
