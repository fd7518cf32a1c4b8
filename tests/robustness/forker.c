// SPDX-License-Identifier: GPL-2.0-only
// Makes processes all the time, or becomes a new program all the time, and looks whether everything arrives.
//
//   forker FILE fork    threads that fork, exec, vfork and spawn, and check each child's exit code
//   forker FILE exec    becomes itself anew every 100 ms, with its areas where they were
//   forker FILE child N (for itself) ends with code N
#include "victim.h"
#include <pthread.h>
#include <spawn.h>
#include <sys/wait.h>

enum { NR_WAYS = 4, EXEC_MS = 100 };

static const char *program, *file;
extern char **environ;

static void check_child(const char *way, pid_t child, int code)
{
	int status;
	pid_t ended;
	must(child > 0, way);
	while ((ended = waitpid(child, &status, 0)) < 0 && errno == EINTR && stopping)
		;
	must(ended == child, "waitpid");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
		fail("%s: a child has ended with status %x instead of code %d", way, status, code);
}

// A child of fork finds the memory of its parent.
static void by_fork(uint64_t turn, int code)
{
	pid_t child = fork();
	if (!child) {
		check_part(turn);
		_exit(code);
	}
	check_child("fork", child, code);
}

static void by_exec(uint64_t turn, int code)
{
	char number[16];
	snprintf(number, sizeof number, "%d", code);
	pid_t child = fork();
	if (!child) {
		check_part(turn);
		execl(program, program, file, "child", number, NULL);
		_exit(126);
	}
	check_child("fork and exec", child, code);
}

static void by_vfork(uint64_t turn, int code)
{
	char number[16];
	snprintf(number, sizeof number, "%d", code);
	(void)turn;
	pid_t child = vfork();
	if (!child) {
		execl(program, program, file, "child", number, NULL);
		_exit(126);
	}
	check_child("vfork", child, code);
}

static void by_spawn(uint64_t turn, int code)
{
	char number[16];
	snprintf(number, sizeof number, "%d", code);
	(void)turn;
	char *arguments[] = {(char *)program, (char *)file, "child", number, NULL};
	pid_t child = 0;
	must(!posix_spawn(&child, program, NULL, NULL, arguments, environ), "posix_spawn");
	check_child("posix_spawn", child, code);
}

static void (*const ways[NR_WAYS])(uint64_t, int) = {by_fork, by_exec, by_vfork, by_spawn};

static void *keep_forking(void *argument)
{
	int number = (long)argument;
	while (!stopping) {
		uint64_t turn = progress[number] + 1;
		ways[number](turn, (turn * 7 + number) % 100);
		check_part(turn);
		progress[number] = turn;
	}
	return NULL;
}

static void fork_on(void)
{
	pthread_t threads[NR_WAYS];
	ready(NR_WAYS, "");
	for (long number = 1; number < NR_WAYS; number++)
		must(!pthread_create(&threads[number], NULL, keep_forking, (void *)number), "pthread_create");
	keep_forking(NULL);
	for (int number = 1; number < NR_WAYS; number++)
		pthread_join(threads[number], NULL);
	check_areas();
}

// SIGTERM waits while there is no handler for it.
static void hold(int how)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(how, &set, NULL);
}

static void exec_on(void)
{
	if (!progress[0])
		ready(1, "");
	progress[0]++;
	hold(SIG_UNBLOCK);
	int64_t end_us = now_us(CLOCK_MONOTONIC) + EXEC_MS * 1000;
	for (uint64_t turn = progress[0]; !stopping && now_us(CLOCK_MONOTONIC) < end_us; turn++)
		check_part(turn);
	check_areas();
	hold(SIG_BLOCK);
	if (stopping)
		exit(0);
	execl(program, program, file, "exec", NULL);
	fail("exec: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	must(argc >= 3, "a progress file and a mode");
	program = "/proc/self/exe";
	file = argv[1];
	if (!strcmp(argv[2], "child"))
		return argc == 4 ? atoi(argv[3]) : 125;
	begin(file);
	map_areas();
	if (!strcmp(argv[2], "exec"))
		exec_on();
	else
		fork_on();
	return 0;
}
