// SPDX-License-Identifier: GPL-2.0-only
// Threads that wait in every way there is, and look whether each wait ends as it must.
//
//   threads FILE all    one thread for each kind of wait
//   threads FILE KIND   that kind alone, in the only thread
//
// No signal with a handler is sent but to the kinds `alarm` and `suspend`, so no other wait may ever end with EINTR.
// A wait with a timeout lasts no shorter than asked, and no longer than twice that and a second. What is read are
// numbers in sequence. Events come from another process, a partner, which sends the next one when the last was taken;
// one that is not taken within some seconds is a lost wake-up. The signal mask is the same after every wait.
//
// Counter n of the progress file counts the waits of kind n. From 32 on: the latest end of a timeout in microseconds.
// Counter 63: how often a signal came to `alarm` and its read went on waiting instead of ending with EINTR.
#include "victim.h"
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

enum { LATE = 32, SWALLOWED = 63, MAX_KINDS = 32 };

#define EVENT_SIGNAL (SIGRTMIN + 1)
#define SILENT_SIGNAL (SIGRTMIN + 2)
#define LOST_S 10

struct kind {
	const char *name;
	void (*wait)(struct kind *kind, uint64_t turn);
	void (*send)(struct kind *kind, uint64_t turn); // NULL: nothing ever comes but the timeout
	int jiffies; // its timeout is counted in jiffies, of which the first may be nearly over
	int number;
	uint64_t mask; // of signals
	int in, out; // events arrive at `in`
	int quiet, unused; // nothing ever arrives at `quiet`
	int epoll, quiet_epoll;
	struct shared *shared;
};

// One for each kind, in memory shared with the partner.
struct shared {
	uint32_t word, taken;
	sem_t semaphore;
	int tid;
};

static int gettid_now(void)
{
	return syscall(SYS_gettid);
}

static long futex(uint32_t *word, int operation, uint32_t value, const struct timespec *timeout)
{
	return syscall(SYS_futex, word, operation, value, timeout, NULL, FUTEX_BITSET_MATCH_ANY);
}

static struct timespec after_us(int64_t us)
{
	return (struct timespec){.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
}

// Unless it was the end of the whole program that interrupted it.
static int interrupted(struct kind *kind, long result)
{
	if (result != -1 || errno != EINTR)
		return 0;
	if (!stopping)
		fail("%s: EINTR", kind->name);
	return 1;
}

static void expect(struct kind *kind, long result, long expected)
{
	if (result != expected && !(result == -1 && stopping && errno == EINTR))
		fail("%s: returned %ld instead of %ld, errno %d", kind->name, result, expected, result == -1 ? errno : 0);
}

static void take(struct kind *kind, uint64_t found, uint64_t turn)
{
	if (found != turn)
		fail("%s: event %lu instead of %lu", kind->name, found, turn);
}

// What has been announced is there.
static void take_from(struct kind *kind, int fd, uint64_t turn)
{
	uint64_t found = 0;
	ssize_t size = read(fd, &found, sizeof found);
	if (interrupted(kind, size))
		return;
	expect(kind, size, sizeof found);
	take(kind, found, turn);
}

static int timeout_us(uint64_t turn)
{
	return 20000 + turn % 5 * 10000;
}

static void check_elapsed(struct kind *kind, int64_t asked_us, int64_t elapsed_us)
{
	if (stopping)
		return;
	if (elapsed_us < asked_us - kind->jiffies * 20000)
		fail("%s: back after %ld us instead of %ld us", kind->name, elapsed_us, asked_us);
	if (elapsed_us > 2 * asked_us + 1000000)
		fail("%s: back only after %ld us instead of %ld us", kind->name, elapsed_us, asked_us);
	int64_t late_us = elapsed_us - asked_us;
	if (late_us > (int64_t)progress[LATE + kind->number])
		progress[LATE + kind->number] = late_us;
}

// --- waits for an event

static void send_number(struct kind *kind, uint64_t turn)
{
	must(write(kind->out, &turn, sizeof turn) == sizeof turn, "write");
}

static void wait_read(struct kind *kind, uint64_t turn)
{
	take_from(kind, kind->in, turn);
}

static void wait_recv(struct kind *kind, uint64_t turn)
{
	uint64_t found = 0;
	long size = recv(kind->in, &found, sizeof found, 0);
	if (interrupted(kind, size))
		return;
	expect(kind, size, sizeof found);
	take(kind, found, turn);
}

static void wait_poll(struct kind *kind, uint64_t turn)
{
	struct pollfd wanted = {.fd = kind->in, .events = POLLIN};
	long result = poll(&wanted, 1, -1);
	if (interrupted(kind, result))
		return;
	expect(kind, result, 1);
	take_from(kind, kind->in, turn);
}

static void wait_ppoll(struct kind *kind, uint64_t turn)
{
	struct pollfd wanted = {.fd = kind->in, .events = POLLIN};
	sigset_t mask;
	sigfillset(&mask);
	sigdelset(&mask, SIGTERM);
	long result = ppoll(&wanted, 1, NULL, &mask);
	if (interrupted(kind, result))
		return;
	expect(kind, result, 1);
	take_from(kind, kind->in, turn);
}

static void wait_select(struct kind *kind, uint64_t turn)
{
	fd_set wanted;
	FD_ZERO(&wanted);
	FD_SET(kind->in, &wanted);
	long result = select(kind->in + 1, &wanted, NULL, NULL, NULL);
	if (interrupted(kind, result))
		return;
	expect(kind, result, 1);
	take_from(kind, kind->in, turn);
}

static void wait_epoll(struct kind *kind, uint64_t turn)
{
	struct epoll_event event = {0};
	long result = epoll_wait(kind->epoll, &event, 1, -1);
	if (interrupted(kind, result))
		return;
	expect(kind, result, 1);
	take_from(kind, event.data.fd, turn);
}

static void wait_epoll_pwait(struct kind *kind, uint64_t turn)
{
	struct epoll_event event = {0};
	sigset_t mask;
	sigfillset(&mask);
	sigdelset(&mask, SIGTERM);
	long result = epoll_pwait(kind->epoll, &event, 1, -1, &mask);
	if (interrupted(kind, result))
		return;
	expect(kind, result, 1);
	take_from(kind, event.data.fd, turn);
}

static void send_connection(struct kind *kind, uint64_t turn)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;
	socklen_t length = sizeof address;
	must(!getsockname(kind->in, (struct sockaddr *)&address, &length), "getsockname");
	must(!connect(fd, (struct sockaddr *)&address, length), "connect");
	must(write(fd, &turn, sizeof turn) == sizeof turn, "write to the socket");
	close(fd);
}

static void wait_accept(struct kind *kind, uint64_t turn)
{
	int fd = accept4(kind->in, NULL, NULL, SOCK_CLOEXEC);
	if (interrupted(kind, fd))
		return;
	if (fd < 0)
		fail("accept: %s", strerror(errno));
	take_from(kind, fd, turn);
	close(fd);
}

static void send_futex(struct kind *kind, uint64_t turn)
{
	__atomic_store_n(&kind->shared->word, turn, __ATOMIC_SEQ_CST);
	futex(&kind->shared->word, FUTEX_WAKE, 1, NULL);
}

static void wait_futex(struct kind *kind, uint64_t turn)
{
	uint32_t before = turn - 1, found;
	while ((found = __atomic_load_n(&kind->shared->word, __ATOMIC_SEQ_CST)) == before && !stopping) {
		long result = futex(&kind->shared->word, FUTEX_WAIT, before, NULL);
		if (!interrupted(kind, result) && !(result == -1 && errno == EAGAIN))
			expect(kind, result, 0);
	}
	if (!stopping)
		take(kind, found, (uint32_t)turn);
}

static void send_post(struct kind *kind, uint64_t turn)
{
	__atomic_store_n(&kind->shared->word, turn, __ATOMIC_SEQ_CST);
	sem_post(&kind->shared->semaphore);
}

static void wait_sem(struct kind *kind, uint64_t turn)
{
	long result = sem_wait(&kind->shared->semaphore);
	if (interrupted(kind, result))
		return;
	expect(kind, result, 0);
	take(kind, __atomic_load_n(&kind->shared->word, __ATOMIC_SEQ_CST), (uint32_t)turn);
}

static void send_signal(struct kind *kind, uint64_t turn)
{
	siginfo_t info = {.si_signo = EVENT_SIGNAL, .si_code = SI_QUEUE};
	info.si_pid = getpid();
	info.si_value.sival_int = turn;
	// The thread has ended when the whole program is about to.
	must(!syscall(SYS_rt_tgsigqueueinfo, getppid(), kind->shared->tid, EVENT_SIGNAL, &info) || errno == ESRCH,
	     "rt_tgsigqueueinfo");
}

static void wait_sigwaitinfo(struct kind *kind, uint64_t turn)
{
	uint64_t wanted = 1ul << (EVENT_SIGNAL - 1);
	siginfo_t info = {0};
	long result = syscall(SYS_rt_sigtimedwait, &wanted, &info, NULL, 8);
	if (interrupted(kind, result))
		return;
	expect(kind, result, EVENT_SIGNAL);
	take(kind, info.si_value.sival_int, turn);
}

// --- waits for a timeout

static void wait_nanosleep(struct kind *kind, uint64_t turn)
{
	struct timespec timeout = after_us(timeout_us(turn)), rest;
	long result = syscall(SYS_nanosleep, &timeout, &rest);
	if (!interrupted(kind, result))
		expect(kind, result, 0);
}

static void wait_clock(struct kind *kind, uint64_t turn)
{
	struct timespec timeout = after_us(timeout_us(turn)), rest;
	long result = syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &timeout, &rest);
	if (!interrupted(kind, result))
		expect(kind, result, 0);
}

static void wait_clock_absolute(struct kind *kind, uint64_t turn)
{
	struct timespec end = after_us(now_us(CLOCK_MONOTONIC) + timeout_us(turn) + 1);
	long result = syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL);
	if (!interrupted(kind, result))
		expect(kind, result, 0);
}

static void expect_error(struct kind *kind, long result, int error)
{
	if (interrupted(kind, result))
		return;
	if (result != -1 || errno != error)
		fail("%s: returned %ld, errno %d instead of %d", kind->name, result, result == -1 ? errno : 0, error);
}

static void wait_futex_timed(struct kind *kind, uint64_t turn)
{
	struct timespec timeout = after_us(timeout_us(turn));
	expect_error(kind, futex(&kind->shared->word, FUTEX_WAIT, 0, &timeout), ETIMEDOUT);
}

static void wait_futex_absolute(struct kind *kind, uint64_t turn)
{
	struct timespec end = after_us(now_us(CLOCK_MONOTONIC) + timeout_us(turn) + 1);
	expect_error(kind, futex(&kind->shared->word, FUTEX_WAIT_BITSET, 0, &end), ETIMEDOUT);
}

static void wait_sem_timed(struct kind *kind, uint64_t turn)
{
	struct timespec end = after_us(now_us(CLOCK_REALTIME) + timeout_us(turn) + 1000); // one clock, measured by another
	expect_error(kind, sem_timedwait(&kind->shared->semaphore, &end), ETIMEDOUT);
}

static void wait_sigtimedwait(struct kind *kind, uint64_t turn)
{
	struct timespec timeout = after_us(timeout_us(turn));
	uint64_t wanted = 1ul << (SILENT_SIGNAL - 1);
	expect_error(kind, syscall(SYS_rt_sigtimedwait, &wanted, NULL, &timeout, 8), EAGAIN);
}

static void wait_recv_timed(struct kind *kind, uint64_t turn)
{
	struct timeval timeout = {.tv_usec = timeout_us(turn)};
	char byte;
	must(!setsockopt(kind->quiet, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout), "setsockopt");
	expect_error(kind, recv(kind->quiet, &byte, 1, 0), EAGAIN);
}

static void wait_semtimedop(struct kind *kind, uint64_t turn)
{
	static int set = -1;
	if (set < 0) {
		must((set = semget(IPC_PRIVATE, 1, 0600)) >= 0, "semget");
		// Marked for deletion it would wake us with EIDRM; the partner deletes it when this process has ended.
		__atomic_store_n(&kind->shared->word, set + 1, __ATOMIC_SEQ_CST);
	}
	struct sembuf down = {.sem_op = -1};
	struct timespec timeout = after_us(timeout_us(turn));
	expect_error(kind, semtimedop(set, &down, 1, &timeout), EAGAIN);
}

static void wait_poll_timed(struct kind *kind, uint64_t turn)
{
	struct pollfd wanted = {.fd = kind->quiet, .events = POLLIN};
	long result = poll(&wanted, 1, timeout_us(turn) / 1000);
	if (!interrupted(kind, result))
		expect(kind, result, 0);
}

static void wait_ppoll_timed(struct kind *kind, uint64_t turn)
{
	struct pollfd wanted = {.fd = kind->quiet, .events = POLLIN};
	struct timespec timeout = after_us(timeout_us(turn));
	sigset_t mask;
	sigfillset(&mask);
	sigdelset(&mask, SIGTERM);
	long result = ppoll(&wanted, 1, &timeout, &mask);
	if (!interrupted(kind, result))
		expect(kind, result, 0);
}

static void wait_select_timed(struct kind *kind, uint64_t turn)
{
	fd_set wanted;
	FD_ZERO(&wanted);
	FD_SET(kind->quiet, &wanted);
	struct timeval timeout = {.tv_usec = timeout_us(turn)};
	long result = select(kind->quiet + 1, &wanted, NULL, NULL, &timeout);
	if (!interrupted(kind, result))
		expect(kind, result, 0);
}

static void wait_epoll_timed(struct kind *kind, uint64_t turn)
{
	struct epoll_event event;
	long result = epoll_wait(kind->quiet_epoll, &event, 1, timeout_us(turn) / 1000);
	if (!interrupted(kind, result))
		expect(kind, result, 0);
}

static void wait_epoll_pwait_timed(struct kind *kind, uint64_t turn)
{
	struct epoll_event event;
	sigset_t mask;
	sigfillset(&mask);
	sigdelset(&mask, SIGTERM);
	long result = epoll_pwait(kind->quiet_epoll, &event, 1, timeout_us(turn) / 1000, &mask);
	if (!interrupted(kind, result))
		expect(kind, result, 0);
}

// --- waits for a signal's handler

extern const char alarm_syscall[];
static volatile sig_atomic_t handled;
static volatile int64_t alarm_since_us;

static void start_timer(int signal_number)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = signal_number};
	event._sigev_un._tid = gettid_now();
	timer_t timer;
	struct itimerspec every = {.it_interval.tv_nsec = 50000000, .it_value.tv_nsec = 50000000};
	must(!timer_create(CLOCK_MONOTONIC, &event, &timer), "timer_create");
	must(!timer_settime(timer, 0, &every, NULL), "timer_settime");
}

static void on_alarm(int signal_number, siginfo_t *info, void *context)
{
	(void)signal_number, (void)info;
	// At the very instruction of the system call it will begin (again) after us. That is a handler come too early once
	// in a million years: here it was waiting already, and will go on to.
	if (((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] == (greg_t)alarm_syscall)
		progress[SWALLOWED]++;
	if (now_us(CLOCK_MONOTONIC) - alarm_since_us > 1000000)
		fail("alarm: read goes on after signals");
	handled++;
}

static void wait_alarm(struct kind *kind, uint64_t turn)
{
	if (turn == 1) {
		struct sigaction action = {.sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO}; // no SA_RESTART
		must(!sigaction(SIGALRM, &action, NULL), "sigaction");
		alarm_since_us = now_us(CLOCK_MONOTONIC);
		start_timer(SIGALRM);
	}
	int before = handled;
	char byte;
	alarm_since_us = now_us(CLOCK_MONOTONIC);
	long result = SYS_read;
	__asm__ volatile(".globl alarm_syscall\nalarm_syscall: syscall"
			 : "+a"(result)
			 : "D"((long)kind->quiet), "S"(&byte), "d"(1l)
			 : "rcx", "r11", "memory");
	if (result != -EINTR)
		fail("alarm: read returned %ld", result);
	if (handled == before && !stopping)
		fail("alarm: EINTR without a signal");
}

static volatile sig_atomic_t woken;

static void on_wake(int signal_number)
{
	(void)signal_number;
	woken++;
}

// The timer's signal is let in by sigsuspend alone, so each return has had its one run of the handler.
static void wait_suspend(struct kind *kind, uint64_t turn)
{
	if (turn == 1) {
		struct sigaction action = {.sa_handler = on_wake};
		must(!sigaction(SIGUSR2, &action, NULL), "sigaction");
		start_timer(SIGUSR2);
	}
	int before = woken;
	sigset_t mask;
	sigfillset(&mask);
	sigdelset(&mask, SIGTERM);
	sigdelset(&mask, SIGUSR2);
	long result = sigsuspend(&mask);
	if (result != -1 || errno != EINTR)
		fail("suspend: returned %ld, errno %d", result, errno);
	if (woken != before + 1 && !stopping)
		fail("suspend: %d signals instead of one", woken - before);
	(void)kind;
}

static struct kind kinds[] = {
	{"read", wait_read, send_number},
	{"recv", wait_recv, send_number},
	{"poll", wait_poll, send_number},
	{"ppoll", wait_ppoll, send_number},
	{"select", wait_select, send_number},
	{"epoll_wait", wait_epoll, send_number},
	{"epoll_pwait", wait_epoll_pwait, send_number},
	{"accept", wait_accept, send_connection},
	{"futex", wait_futex, send_futex},
	{"sem_wait", wait_sem, send_post},
	{"sigwaitinfo", wait_sigwaitinfo, send_signal},
	{"nanosleep", wait_nanosleep},
	{"clock_nanosleep", wait_clock},
	{"clock_nanosleep_absolute", wait_clock_absolute},
	{"futex_timed", wait_futex_timed},
	{"futex_absolute", wait_futex_absolute},
	{"sem_timedwait", wait_sem_timed},
	{"sigtimedwait", wait_sigtimedwait},
	{"recv_timed", wait_recv_timed, .jiffies = 1},
	{"semtimedop", wait_semtimedop, .jiffies = 1},
	{"poll_timed", wait_poll_timed},
	{"ppoll_timed", wait_ppoll_timed},
	{"select_timed", wait_select_timed},
	{"epoll_wait_timed", wait_epoll_timed},
	{"epoll_pwait_timed", wait_epoll_pwait_timed},
	{"alarm", wait_alarm},
	{"suspend", wait_suspend},
};
enum { NR_KINDS = sizeof kinds / sizeof kinds[0] };
_Static_assert(NR_KINDS <= MAX_KINDS, "a counter for each");

static int is_timed(const struct kind *kind)
{
	return !kind->send && kind->wait != wait_alarm && kind->wait != wait_suspend;
}

static void *keep_waiting(void *argument)
{
	struct kind *kind = argument;
	uint64_t mask;
	if (kind->wait == wait_alarm) {
		sigset_t open;
		sigemptyset(&open);
		sigaddset(&open, SIGALRM);
		pthread_sigmask(SIG_UNBLOCK, &open, NULL);
	}
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &kind->mask, 8);
	__atomic_store_n(&kind->shared->tid, gettid_now(), __ATOMIC_SEQ_CST);
	for (uint64_t turn = 1; !stopping; turn++) {
		int64_t before_us = now_us(CLOCK_MONOTONIC);
		kind->wait(kind, turn);
		if (is_timed(kind))
			check_elapsed(kind, timeout_us(turn) / 1000 * 1000, now_us(CLOCK_MONOTONIC) - before_us);
		must(!syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, 8), "rt_sigprocmask");
		if (mask != kind->mask)
			fail("%s: the signal mask is %lx instead of %lx", kind->name, mask, kind->mask);
		check_part(turn);
		progress[kind->number] = turn;
		__atomic_store_n(&kind->shared->taken, turn, __ATOMIC_SEQ_CST);
		if (kind->send)
			futex(&kind->shared->taken, FUTEX_WAKE, 1, NULL);
	}
	return NULL;
}

// --- the partner

// A line of its own on stderr, and the end of the victim.
static void give_up(struct kind *kind)
{
	fprintf(stderr, "%s: an event is lost\n", kind->name);
	kill(getppid(), SIGKILL);
	_exit(5);
}

static void *keep_sending(void *argument)
{
	struct kind *kind = argument;
	unsigned seed = kind->number;
	while (!__atomic_load_n(&kind->shared->tid, __ATOMIC_SEQ_CST))
		usleep(1000);
	for (uint64_t turn = 1;; turn++) {
		usleep(rand_r(&seed) % 10000);
		kind->send(kind, turn);
		int64_t end_us = now_us(CLOCK_MONOTONIC) + LOST_S * 1000000;
		uint32_t taken;
		while ((taken = __atomic_load_n(&kind->shared->taken, __ATOMIC_SEQ_CST)) != (uint32_t)turn) {
			struct timespec timeout = after_us(end_us - now_us(CLOCK_MONOTONIC));
			if (timeout.tv_sec < 0 || timeout.tv_nsec < 0)
				give_up(kind);
			futex(&kind->shared->taken, FUTEX_WAIT, taken, &timeout);
		}
	}
}

static void be_partner(struct kind *first, struct kind *last, int alive)
{
	for (int number = 0; number < NR_AREAS; number++)
		munmap(area(number), AREA_BYTES);
	signal(SIGTERM, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	for (struct kind *kind = first; kind <= last; kind++) {
		pthread_t thread;
		if (kind->send)
			must(!pthread_create(&thread, NULL, keep_sending, kind), "pthread_create");
	}
	char byte;
	while (read(alive, &byte, 1) < 0) // until the victim has ended
		;
	for (struct kind *kind = first; kind <= last; kind++)
		if (kind->wait == wait_semtimedop && kind->shared->word)
			semctl(kind->shared->word - 1, 0, IPC_RMID);
	_exit(0);
}

static void prepare(struct kind *kind, struct shared *shared)
{
	int ends[2];
	kind->number = kind - kinds;
	kind->shared = shared + kind->number;
	must(!sem_init(&kind->shared->semaphore, 1, 0), "sem_init");
	if (kind->wait == wait_accept) {
		struct sockaddr_un address = {.sun_family = AF_UNIX};
		kind->in = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		must(!bind(kind->in, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path)), "bind");
		must(!listen(kind->in, 8), "listen");
	} else if (kind->wait == wait_recv) {
		must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), "socketpair");
		kind->in = ends[0], kind->out = ends[1];
	} else {
		must(!pipe2(ends, O_CLOEXEC), "pipe");
		kind->in = ends[0], kind->out = ends[1];
	}
	must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), "socketpair");
	kind->quiet = ends[0], kind->unused = ends[1];
	struct epoll_event event = {.events = EPOLLIN};
	kind->epoll = epoll_create1(EPOLL_CLOEXEC);
	kind->quiet_epoll = epoll_create1(EPOLL_CLOEXEC);
	event.data.fd = kind->in;
	must(!epoll_ctl(kind->epoll, EPOLL_CTL_ADD, kind->in, &event), "epoll_ctl");
	event.data.fd = kind->quiet;
	must(!epoll_ctl(kind->quiet_epoll, EPOLL_CTL_ADD, kind->quiet, &event), "epoll_ctl");
}

int main(int argc, char **argv)
{
	must(argc >= 3, "a progress file and a kind");
	begin(argv[1]);
	struct kind *first = kinds, *last = kinds + NR_KINDS - 1;
	if (strcmp(argv[2], "all")) {
		while (first <= last && strcmp(first->name, argv[2]))
			first++;
		if (first > last)
			fail("there is no kind %s", argv[2]);
		last = first;
	}
	map_areas();
	struct shared *shared = mmap(NULL, NR_KINDS * sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
				     -1, 0);
	must(shared != MAP_FAILED, "mmap");
	sigset_t blocked;
	sigemptyset(&blocked);
	sigaddset(&blocked, EVENT_SIGNAL);
	sigaddset(&blocked, SILENT_SIGNAL);
	sigaddset(&blocked, SIGUSR2);
	sigaddset(&blocked, SIGALRM);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	for (struct kind *kind = first; kind <= last; kind++)
		prepare(kind, shared);

	int alive[2];
	must(!pipe2(alive, O_CLOEXEC), "pipe");
	pid_t partner = fork();
	must(partner >= 0, "fork");
	if (!partner) {
		close(alive[1]);
		be_partner(first, last, alive[0]);
	}
	close(alive[0]);

	char more[2048];
	int length = snprintf(more, sizeof more, ", \"first\": %d, \"names\": [", (int)(first - kinds));
	for (struct kind *kind = first; kind <= last; kind++)
		length += snprintf(more + length, sizeof more - length, "%s\"%s\"", kind == first ? "" : ", ", kind->name);
	snprintf(more + length, sizeof more - length, "]");
	pthread_t threads[NR_KINDS];
	for (struct kind *kind = first + 1; kind <= last; kind++)
		must(!pthread_create(&threads[kind - first], NULL, keep_waiting, kind), "pthread_create");
	ready(last - first + 1, more);
	keep_waiting(first);
	for (struct kind *kind = first + 1; kind <= last; kind++)
		pthread_join(threads[kind - first], NULL);
	check_areas();
	return 0;
}
