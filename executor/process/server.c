/*
 * executor/process/server.c - the fork server: one thread without anything of the program's but what was there before
 * torc_process_begin. It forks workers, and is the one whose children they are, so it alone waits for them: the program's own
 * wait(2) does not see them.
 *
 * It waits for three things at once: a child has died; the program wants something; the program is gone. Of the last there are
 * three signs, for each has its gap: the socket's end (not while a child of the program has a copy), the program's pidfd
 * (not when it starts another program in its place), PR_SET_PDEATHSIG (not if it has given up privileges).
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "executor/internal/region.h"

#define PARENT_DIED SIGUSR1

static struct torc__region *region;
static uint32_t kills_seen[TORC__PROCESSES_MOST];
static int signals = -1, program = -1;

/* --- coming up --- */

static _Noreturn void give_up(const char *why)
{
	fprintf(stderr, "torc: a fork server cannot start: %s\n", why);
	_exit(127);
}

static struct torc__region *map_region(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, TORC__REGION_FD, 0);

	if (memory == MAP_FAILED)
		give_up(strerror(errno));
	return memory;
}

/* Another torc than the program's? */
static bool is_stale(void)
{
	struct torc__place_in_module here;

	return torc__module_of((const void *)(uintptr_t)torc__server_main, &here) < 0 ||
	       !torc__module_same(&here.module, &region->torc);
}

static _Noreturn void be_stale(void)
{
	__atomic_store_n(&region->greeting, -ESTALE, __ATOMIC_RELEASE);
	_exit(127);
}

static void open_region(void)
{
	struct stat st;

	if (fstat(TORC__REGION_FD, &st) < 0 || st.st_size < 4096)
		give_up("it was not started by torc");
	region = map_region(4096);
	if (region->magic != TORC__REGION_MAGIC)
		give_up("it was not started by torc");
	if (region->layout != torc__region_layout())
		be_stale();
	munmap(region, 4096);
	region = map_region(sizeof(*region));
	if (is_stale())
		be_stale();
}

/* The program learns of our death from the kernel. */
static void begin_life(void)
{
	static struct robust_list_head head;
	struct torc__life *life = &region->life;

	head.list.next = &life->list;
	head.futex_offset = offsetof(struct torc__life, word) - offsetof(struct torc__life, list);
	life->list.next = &head.list;
	__atomic_store_n(&life->word, (uint32_t)gettid() | FUTEX_WAITERS, __ATOMIC_RELEASE);
	syscall(SYS_set_robust_list, &head, sizeof(head));
}

/* It may have died before we have asked to be told. */
static void follow_program(void)
{
	prctl(PR_SET_PDEATHSIG, PARENT_DIED);
	program = (int)syscall(SYS_pidfd_open, region->program, 0);
	if (getppid() != region->program)
		_exit(0);
}

/* What is for the program, SIGTERM for instance, is not for us. */
static void take_signals(void)
{
	sigset_t all, heard;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	sigemptyset(&heard);
	sigaddset(&heard, SIGCHLD);
	sigaddset(&heard, PARENT_DIED);
	signals = signalfd(-1, &heard, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0)
		give_up(strerror(errno));
}

/* --- workers --- */

static bool alive(const struct torc__berth *b)
{
	return b->started != b->ended;
}

static void tell_ended(struct torc__berth *b, int wait_status)
{
	b->wait_status = wait_status;
	__atomic_store_n(&b->ended, b->started, __ATOMIC_RELEASE);
	torc__bell_ring(&region->bell);
}

static void start_worker(unsigned index, uint32_t start)
{
	struct torc__berth *b = &region->berths[index];
	pid_t pid;

	kills_seen[index] = b->kills_before;
	pid = fork();
	if (pid == 0) {
		close(signals);
		close(program);
		torc__worker_process(region, index);
	}
	if (pid > 0)
		setpgid(pid, pid); /* as the worker does: whoever is first */
	b->pid = pid;
	__atomic_store_n(&b->started, start, __ATOMIC_RELEASE);
	if (pid < 0)
		tell_ended(b, -errno);
	else
		torc__bell_ring(&region->bell);
}

/* The worker of that number. */
static struct torc__berth *berth_of(pid_t pid)
{
	for (unsigned i = 0; i < region->workers; i++)
		if (alive(&region->berths[i]) && region->berths[i].pid == pid)
			return &region->berths[i];
	return NULL;
}

/* What is left of its group goes first: as long as it is not waited for, its number is nobody else's. */
static void bury(pid_t pid)
{
	struct torc__berth *b = berth_of(pid);
	int status = 0;

	kill(-pid, SIGKILL);
	waitpid(pid, &status, 0);
	if (b)
		tell_ended(b, status);
}

static void bury_dead(void)
{
	siginfo_t dead;

	for (;;) {
		dead.si_pid = 0;
		if (waitid(P_ALL, 0, &dead, WEXITED | WNOHANG | WNOWAIT) < 0 || !dead.si_pid)
			return;
		bury(dead.si_pid);
	}
}

static _Noreturn void end_all(void)
{
	for (unsigned i = 0; i < region->workers; i++) {
		struct torc__berth *b = &region->berths[i];

		if (!alive(b) || b->pid <= 0)
			continue;
		kill(-b->pid, SIGKILL);
		kill(b->pid, SIGKILL);
		bury(b->pid);
	}
	_exit(0);
}

static void obey(void)
{
	for (unsigned i = 0; i < region->workers; i++) {
		struct torc__berth *b = &region->berths[i];
		uint32_t start = __atomic_load_n(&b->start, __ATOMIC_ACQUIRE);
		uint32_t kills = __atomic_load_n(&b->kill, __ATOMIC_ACQUIRE);

		if (start != b->started)
			start_worker(i, start);
		if (alive(b) && kills != kills_seen[i])
			kill(b->pid, (int)b->kill_signal);
		kills_seen[i] = kills;
	}
	if (__atomic_load_n(&region->stop, __ATOMIC_ACQUIRE))
		end_all();
}

/* --- waiting --- */

/* Returns whether the program is gone. */
static bool hear_calls(void)
{
	char calls[64];
	ssize_t n;

	do
		n = recv(TORC__CALL_FD, calls, sizeof(calls), MSG_DONTWAIT);
	while (n == (ssize_t)sizeof(calls));
	return n == 0;
}

static void hear_signals(void)
{
	struct signalfd_siginfo info;

	while (read(signals, &info, sizeof(info)) > 0)
		continue;
}

static bool wait_for_news(void)
{
	struct pollfd fds[] = {
		{ .fd = TORC__CALL_FD, .events = POLLIN },
		{ .fd = signals, .events = POLLIN },
		{ .fd = program, .events = POLLIN }, /* -1 is passed over */
	};

	if (poll(fds, sizeof(fds) / sizeof(fds[0]), -1) < 0)
		return true;
	if (fds[1].revents)
		hear_signals();
	return !(fds[0].revents && hear_calls()) && !fds[2].revents && getppid() == region->program;
}

void torc__server_main(void)
{
	fflush(NULL); /* or each worker would write what was left here */
	open_region();
	prctl(PR_SET_NAME, "torc-server");
	take_signals();
	follow_program();
	begin_life();
	__atomic_store_n(&region->greeting, 1, __ATOMIC_RELEASE);
	torc__bell_ring(&region->bell);
	do {
		obey();
		bury_dead();
	} while (wait_for_news());
	end_all();
}
