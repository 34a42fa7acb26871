/*
 * executor/process/warden.c - the pool's own thread: it starts the fork server and hears of the deaths, has workers started in
 * the place of those that have died, and answers the pool's own bell.
 *
 * It sleeps on two words at once, futex_waitv(2): the bell, which workers and the fork server ring, and the word that the
 * kernel changes when the fork server dies. It is the thread that has started the fork server, which dies when it ends
 * (PR_SET_PDEATHSIG is about threads).
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "executor/internal/process.h"

/* How often it looks whether a fork server that has said nothing yet still lives; and tries to start a worker again. */
#define GREETING_NS ((uint64_t)2000000)
#define RETRY_NS    ((uint64_t)50000000)

/* Workers that die one after the other before they are ready, beside those that are just being started. */
#define STILLBORN_MOST 8u

/* Workers that could not be forked, one after the other, when there is none. */
#define UNFORKED_MOST 100u

/* How long a worker without a fork server may take to die. */
#define WORKER_ENDS_MS 1000

#define DEAD FUTEX_OWNER_DIED

/* --- sleeping --- */

/* A dead life changes no more, and is not waited for. */
static int wait_for_words(struct torc__processes *p, uint32_t life_word, uint64_t timeout_ns)
{
	struct futex_waitv words[3] = {
		{ .val = TORC__BELL_ASLEEP,
		  .uaddr = (uintptr_t)&p->region->bell.word,
		  .flags = FUTEX_32 },
		{ .val = TORC__BELL_ASLEEP,
		  .uaddr = (uintptr_t)&p->doorstep->bell.word,
		  .flags = FUTEX_32 },
		{ .val = life_word, .uaddr = (uintptr_t)&p->region->life.word, .flags = FUTEX_32 },
	};
	struct timespec until = torc__timespec(torc__later(torc_now_ns(), timeout_ns));

	return syscall(SYS_futex_waitv, words, life_word & DEAD ? 2 : 3, 0,
		       timeout_ns == TORC_NEVER ? NULL : &until, CLOCK_MONOTONIC) < 0
		       ? -errno
		       : 0;
}

static uint32_t look_at_life(const struct torc__processes *p)
{
	return __atomic_load_n(&p->region->life.word, __ATOMIC_ACQUIRE);
}

/* Until a bell has been rung, or the fork server has died, which was alive when `life_word` was read. */
static void nap(struct torc__processes *p, uint32_t life_word, uint64_t timeout_ns)
{
	if (torc__bell_sleepy(&p->region->bell) && torc__bell_sleepy(&p->doorstep->bell))
		(void)wait_for_words(p, life_word, timeout_ns);
	torc__bell_clear(&p->region->bell);
	torc__bell_clear(&p->doorstep->bell);
}

/* --- the fork server --- */

static int set_actions(const struct torc__processes *p, posix_spawn_file_actions_t *actions)
{
	int r = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);

	if (!r)
		r = posix_spawn_file_actions_adddup2(actions, p->fd, TORC__REGION_FD);
	if (!r)
		r = posix_spawn_file_actions_adddup2(actions, p->bells_fd, TORC__BELLS_FD);
	if (!r)
		r = posix_spawn_file_actions_adddup2(actions, p->called_fd, TORC__CALL_FD);
	if (!r)
		r = posix_spawn_file_actions_addclosefrom_np(actions, TORC__CALL_FD + 1);
	return r;
}

static int set_attributes(posix_spawnattr_t *attr)
{
	sigset_t all, none;
	int r;

	sigfillset(&all);
	sigemptyset(&none);
	r = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF |
						   POSIX_SPAWN_SETSIGMASK);
	if (!r)
		r = posix_spawnattr_setsigdefault(attr, &all);
	if (!r)
		r = posix_spawnattr_setsigmask(attr, &none);
	return r;
}

static int spawn_with(struct torc__processes *p, posix_spawn_file_actions_t *actions,
		      posix_spawnattr_t *attr)
{
	char title[] = "(torc fork server)";
	char *argv[] = { program_invocation_name, title, NULL };
	int r = set_actions(p, actions);

	if (!r)
		r = set_attributes(attr);
	if (!r)
		r = posix_spawn(&p->server, "/proc/self/exe", actions, attr, argv, p->environment);
	return -r;
}

static int spawn(struct torc__processes *p)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int r = posix_spawn_file_actions_init(&actions);

	if (r)
		return -r;
	r = posix_spawnattr_init(&attr);
	if (r) {
		posix_spawn_file_actions_destroy(&actions);
		return -r;
	}
	r = spawn_with(p, &actions, &attr);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	if (r < 0)
		return r;
	close(p->called_fd);
	p->called_fd = -1;
	p->server_fd = (int)syscall(SYS_pidfd_open, p->server, 0);
	if (p->server_fd >= 0)
		return 0;
	if (errno ==
	    ESRCH) /* it has died, and somebody has waited for it: the number may be another's */
		return -EPIPE;
	r = -errno;
	kill(p->server, SIGKILL);
	waitpid(p->server, NULL, 0);
	return r;
}

static bool server_ended(const struct torc__processes *p)
{
	struct pollfd pfd = { .fd = p->server_fd, .events = POLLIN };

	return poll(&pfd, 1, 0) != 0;
}

static int await_greeting(struct torc__processes *p)
{
	int32_t greeting;

	while (!(greeting = __atomic_load_n(&p->region->greeting, __ATOMIC_ACQUIRE))) {
		if (server_ended(p)) {
			greeting = __atomic_load_n(&p->region->greeting, __ATOMIC_ACQUIRE);
			return greeting < 0 ? greeting : -EPIPE;
		}
		nap(p, look_at_life(p), GREETING_NS);
	}
	return greeting < 0 ? greeting : 0;
}

/* Whoever else may have waited for it, or taken its status. */
static void bury_server(struct torc__processes *p)
{
	siginfo_t info;

	while (waitid(P_PIDFD, (id_t)p->server_fd, &info, WEXITED) < 0 && errno == EINTR)
		continue;
}

void torc__server_call(struct torc__processes *p)
{
	/* Full: it has been called already. */
	(void)send(p->call_fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static int start_server(struct torc__processes *p)
{
	int r;

	if (wait_for_words(p, 0, 0) == -ENOSYS)
		return -ENOSYS;
	p->region->program = getpid();
	r = spawn(p);
	if (r < 0)
		return r;
	r = await_greeting(p);
	if (r < 0) {
		syscall(SYS_pidfd_send_signal, p->server_fd, SIGKILL, NULL, 0);
		bury_server(p);
	}
	return r;
}

/* --- workers --- */

static bool ended(const struct torc__member *m)
{
	return __atomic_load_n(&m->berth->ended, __ATOMIC_ACQUIRE) == m->berth->start;
}

/* Inside the guard. */
static void start(struct torc__processes *p, struct torc__member *m)
{
	struct torc__link *link = m->link;

	memset(link, 0, offsetof(struct torc__link, slots));
	m->berth->kill_signal = 0;
	for (unsigned i = 0; i < TORC__SLOTS; i++)
		link->slots[i].state = TORC__SLOT_FREE;
	m->tail = m->done = 0;
	m->given = 0;
	m->condemned = false;
	m->state = TORC__MEMBER_STARTING;
	m->berth->kills_before = m->berth->kill;
	p->started++;
	__atomic_store_n(&m->berth->start, m->berth->start + 1, __ATOMIC_RELEASE);
}

static void hear_ready(struct torc__processes *p, struct torc__member *m)
{
	int32_t ready = __atomic_load_n(&m->link->ready, __ATOMIC_ACQUIRE);

	if (m->state == TORC__MEMBER_STARTING && ready < 0)
		torc__processes_break(p, ready);
	if (ready != 1 || m->state != TORC__MEMBER_STARTING ||
	    __atomic_load_n(&m->berth->started, __ATOMIC_ACQUIRE) != m->berth->start)
		return; /* the fork server may be slower than the worker: its number is not known yet */
	m->state = TORC__MEMBER_READY;
	p->stillborn = p->unforked = 0;
	p->ready++;
}

/* Returns whether it died in the midst of something. */
static bool hear_death(struct torc__processes *p, struct torc__member *m, struct torc__round *round)
{
	int wait_status = m->berth->wait_status;

	if (wait_status < 0) {
		p->retry_ns = torc__later(torc_now_ns(), RETRY_NS);
		if (++p->unforked > UNFORKED_MOST && !p->ready)
			torc__processes_break(p, wait_status);
	} else if (m->state == TORC__MEMBER_STARTING &&
		   ++p->stillborn > STILLBORN_MOST + p->members_count) {
		torc__processes_break(p, -EPIPE);
	}
	/* What was told to end may do so. */
	if (m->state != TORC__MEMBER_LEAVING && p->break_on_crash)
		torc__processes_break(p, -EPIPE);
	torc__member_bury(p, m, wait_status < 0 ? 0 : wait_status, round);
	/* It may have died before it could wake who sleeps (core/internal/bell.h). */
	return wait_status > 0;
}

static bool wanted(const struct torc__processes *p)
{
	return !p->broken && (!p->closed || torc__processes_queued(p));
}

/* One member at a time. Returns whether there is something to be told to the fork server. */
static bool see_to(struct torc__processes *p, struct torc__member *m, bool *ret_retry)
{
	struct torc__round round = { .bells_count = 0 };
	bool call = false, rescue = false;

	torc__guard_lock(NULL, &p->guard);
	if (m->state != TORC__MEMBER_ABSENT) {
		hear_ready(p, m);
		if (ended(m))
			rescue = hear_death(p, m, &round);
	}
	if (m->state == TORC__MEMBER_ABSENT && !m->taken && wanted(p)) {
		call = torc_now_ns() >= p->retry_ns;
		*ret_retry |= !call;
		if (call)
			start(p, m);
	} else if (m->state != TORC__MEMBER_ABSENT && m->state != TORC__MEMBER_LEAVING &&
		   !wanted(p)) {
		torc__member_dismiss(p, m);
		round.bells[round.bells_count++] = &m->link->bell;
	}
	if (m->state != TORC__MEMBER_ABSENT && p->broken && !m->condemned) {
		torc__member_kill(m, SIGKILL);
		m->condemned = call = true;
	}
	torc__guard_unlock(&p->guard);
	torc__round_end(p, &round);
	if (rescue)
		torc__bells_rescue();
	return call;
}

static bool see_to_all(struct torc__processes *p)
{
	bool call = false, retry = false, broken;

	/* The last one may have broken it for the first one. */
	do {
		broken = p->broken;
		for (unsigned i = 0; i < p->members_count; i++)
			call |= see_to(p, &p->members[i], &retry);
	} while (p->broken != broken);
	if (call)
		torc__server_call(p);
	if (broken)
		torc__processes_refuse(p, -EPIPE);
	torc__processes_harvest(p);
	return retry;
}

/* --- the end --- */

static bool all_ended(struct torc__processes *p)
{
	bool all;

	torc__guard_lock(NULL, &p->guard);
	all = p->closed && torc__processes_idle(p);
	for (unsigned i = 0; i < p->members_count && all; i++)
		all = p->members[i].state == TORC__MEMBER_ABSENT;
	torc__guard_unlock(&p->guard);
	return all;
}

/* Is that process one of ours, and not one that has got its number since? */
static bool is_worker(pid_t pid)
{
	char path[32], name[16] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (!fgets(name, sizeof(name), file))
		name[0] = 0;
	fclose(file);
	return !strcmp(name, TORC__WORKER_NAME "\n");
}

/*
 * The kernel kills the workers when the fork server dies, unless they have changed their user; it may take a moment, in which they
 * still write to what they share with us.
 */
static void end_worker(pid_t pid)
{
	int fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	if (fd < 0)
		return;
	if (is_worker(pid)) {
		syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
		while (poll(&pfd, 1, WORKER_ENDS_MS) < 0 && errno == EINTR)
			continue;
	}
	close(fd);
}

/* It has died before its time. */
static void bury_all(struct torc__processes *p)
{
	torc__guard_lock(NULL, &p->guard);
	torc__processes_break(p, -EPIPE);
	torc__guard_unlock(&p->guard);
	for (unsigned i = 0; i < p->members_count; i++) {
		struct torc__member *m = &p->members[i];
		struct torc__round round = { .bells_count = 0 };

		if (m->berth->started != m->berth->ended)
			end_worker(m->berth->pid);
		torc__guard_lock(NULL, &p->guard);
		if (m->state != TORC__MEMBER_ABSENT)
			torc__member_bury(p, m, 0, &round);
		torc__guard_unlock(&p->guard);
		torc__round_end(p, &round);
	}
	torc__processes_refuse(p, -EPIPE);
}

static void stop_server(struct torc__processes *p)
{
	__atomic_store_n(&p->region->stop, 1, __ATOMIC_RELEASE);
	torc__server_call(p);
	bury_server(p);
}

void torc__processes_signal(struct torc__processes *p, int sig)
{
	torc__guard_lock(NULL, &p->guard);
	for (unsigned i = 0; i < p->members_count; i++)
		if (p->members[i].state != TORC__MEMBER_ABSENT)
			torc__member_kill(&p->members[i], sig);
	torc__guard_unlock(&p->guard);
	torc__server_call(p);
}

static void serve(struct torc__processes *p)
{
	bool retry = false, dead = false;

	for (;;) {
		uint32_t life = look_at_life(p);

		if (!dead && life & DEAD) {
			dead = true;
			bury_all(p);
		}
		if (!dead)
			retry = see_to_all(p);
		else
			torc__processes_refuse(p, -EPIPE);
		if (all_ended(p))
			break;
		nap(p, life, retry ? RETRY_NS : TORC_NEVER);
	}
	if (dead)
		bury_server(p);
	else
		stop_server(p);
}

void torc__warden_run(struct torc__thread *thread)
{
	struct torc__processes *p = torc__container_of(thread, struct torc__processes, warden);

	p->up_error = start_server(p);
	torc__event_set_shared(&p->up);
	if (p->up_error == 0)
		serve(p);
	torc__event_set_shared(&p->over);
}
