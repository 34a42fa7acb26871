/*
 * tests/sim/conform_random.h - scripts of random steps; the seed is their argument.
 *
 * They keep to what Linux promises: no two operations wait for the same (see conform.h), a socket's buffer is never full
 * (how much it takes is not the same from one kernel to the next), and a descriptor is closed when nothing waits for it.
 * What travels over TCP is waited for after each step.
 */
#ifndef TESTS_SIM_CONFORM_RANDOM_H
#define TESTS_SIM_CONFORM_RANDOM_H

#include "tests/sim/conform.h"
#include "tests/sim/conform_files.h"
#include "tests/sim/conform_streams.h"
#include "tests/support/random.h"

#define RANDOM_STEPS 40

/* Of a stream socket's bytes so many may be unread, of so many sends. */
#define UNREAD_MOST 8000u
#define SENDS_MOST  16u

static uint64_t dice_state;

static unsigned dice(unsigned sides)
{
	return next_random(&dice_state) % sides;
}

static void begin_random(void)
{
	dice_state = (uint64_t)(uintptr_t)run.arg * 0x9e3779b97f4a7c15u;
	dice(2);
}

/* --- pairs: sockets, and the ends of a pipe --- */

struct end {
	int fd; /* -1: closed */
	struct end *other;
	struct act *reading, *writing; /* the last ones; NULL: none */
	uint64_t sent, taken;
	unsigned sends;
};

static bool waits(const struct act *a)
{
	return a && torc_op_pending(&a->op);
}

/* Takes an act as the end's, with its bytes counted. It may have completed already, or go on. */
static void count_bytes(struct act *a, uint64_t *bytes)
{
	*bytes += a->total;
	a->bytes = bytes;
}

static void random_send(struct end *e)
{
	static const int flags[] = { 0, 0, MSG_DONTWAIT, MSG_WAITALL, MSG_DONTWAIT | MSG_WAITALL };
	unsigned len = 1 + dice(dice(4) ? 20 : 2000);

	if (waits(e->writing) || e->sent - e->other->taken > UNREAD_MOST || e->sends > SENDS_MOST)
		return;
	e->sends++;
	e->writing =
		dice(4) ? do_send(e->fd, len, flags[dice(COUNT(flags))]) : do_write(e->fd, len, 0);
	count_bytes(e->writing, &e->sent);
}

static void random_recv(struct end *e)
{
	static const int flags[] = { 0, 0, MSG_DONTWAIT, MSG_WAITALL, MSG_DONTWAIT | MSG_WAITALL };
	unsigned len = 1 + dice(dice(4) ? 30 : 3000);

	if (waits(e->reading))
		return;
	e->reading =
		dice(4) ? do_recv(e->fd, len, flags[dice(COUNT(flags))]) : do_read(e->fd, len, 0);
	count_bytes(e->reading, &e->taken);
}

static void random_recv_selected(struct end *e)
{
	if (waits(e->reading))
		return;
	if (dice(2))
		e->reading = do_recv_selected(e->fd, 0, 0, true);
	else
		e->reading = do_recv_selected(e->fd, 0, dice(3) ? 0 : MSG_DONTWAIT, false);
	count_bytes(e->reading, &e->taken);
}

static void random_peek(struct end *e)
{
	if (!waits(e->reading))
		e->reading = do_recv(e->fd, dice(40), MSG_PEEK | (dice(2) ? MSG_DONTWAIT : 0));
}

static void random_poll(struct end *e)
{
	static const unsigned events[] = { 0, POLLIN, POLLOUT, POLLRDHUP, POLLIN | POLLOUT };

	if (!waits(e->reading) && !waits(e->writing))
		e->reading = do_poll(e->fd, events[dice(COUNT(events))]);
}

static void random_cancel(struct end *e)
{
	struct act *a = dice(2) ? e->reading : e->writing;

	if (a)
		do_cancel(a);
}

static void random_close(struct end *e)
{
	if (waits(e->reading) || waits(e->writing) || dice(2))
		return;
	do_close(e->fd);
	e->fd = -1;
}

static unsigned bits_of(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP };

	poll(&p, 1, 0);
	return (unsigned)p.revents;
}

/* Of a TCP socket: all bytes that have ever come, also those that a waiting operation has taken already. */
static uint64_t bytes_received(int fd)
{
	struct tcp_info info = { .tcpi_state = 0 };
	socklen_t len = sizeof(info);

	check_eq(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info.tcpi_bytes_received;
}

/* Wait until all that was sent to here is here, or never will be. */
static void await_bytes(const struct end *e)
{
	uint64_t end_ns = torc_now_ns() + PATIENCE_NS;

	if (e->fd < 0 || !run.expected)
		return;
	while (bytes_received(e->fd) < e->other->sent && !(bits_of(e->fd) & (POLLERR | POLLHUP))) {
		if (torc_now_ns() > end_ns) {
			say("not all came");
			return;
		}
		check_eq(torc_sleep(100000), 0);
	}
	/* Who waited for it takes it. */
	for (int i = 0; i < 3; i++)
		turn();
}

/* The bits that poll(2) has, which Linux is given time to come to. */
static void say_bits(const struct end *e)
{
	struct transcript *t = run.transcript;
	uint64_t end_ns = torc_now_ns() + PATIENCE_NS;
	char text[64];

	if (e->fd < 0)
		return;
	if (!run.expected) {
		say_state(e->fd);
		return;
	}
	while (torc_now_ns() < end_ns) {
		const char *wanted = NULL;

		/* "#007 poll a, events 0x2005", and below it the completion: see do_poll */
		if (t->count + 1 < run.expected->count)
			wanted = strchr(run.expected->lines[t->count + 1], ':');
		snprintf(text, sizeof(text), ": %u", bits_of(e->fd));
		if (!wanted || !strcmp(wanted, text) || !strcmp(text, ": 0"))
			break;
		check_eq(torc_sleep(100000), 0);
	}
	say_state(e->fd);
}

static void await_travel(struct end ends[2])
{
	for (int i = 0; i < 2; i++)
		await_bytes(&ends[i]);
	for (int i = 0; i < 2; i++)
		if (!waits(ends[i].reading) && !waits(ends[i].writing))
			say_bits(&ends[i]);
}

static void random_socket_step(struct end *e, bool tcp)
{
	switch (dice(16)) {
	case 0:
	case 1:
	case 2:
	case 3: random_send(e); break;
	case 4:
	case 5:
	case 6: random_recv(e); break;
	case 7: random_recv_selected(e); break;
	case 8: random_peek(e); break;
	case 9: random_poll(e); break;
	case 10: random_cancel(e); break;
	case 11: call_error(e->fd); break;
	case 12:
		if (!dice(4))
			do_shutdown(e->fd, (int)dice(3));
		break;
	case 13: random_close(e); break;
	case 14: call_name(e->fd, false); break;
	default:
		if (tcp && !dice(4))
			call_linger_zero(e->fd);
		break;
	}
	if (e->fd >= 0 && e->sent == e->other->taken)
		e->sends = 0;
}

static void random_pair(int fds[2], void (*step)(struct end *e, bool tcp), bool tcp)
{
	struct end ends[2] = { { .fd = fds[0], .other = &ends[1] },
			       { .fd = fds[1], .other = &ends[0] } };

	for (int i = 0; i < RANDOM_STEPS; i++) {
		struct end *e = &ends[dice(2)];

		if (e->fd >= 0)
			step(e, tcp);
		if (tcp)
			await_travel(ends);
	}
	for (struct act *a = run.acts; a; a = a->next)
		a->bytes = NULL;
}

static void random_unix_script(void)
{
	int s[2];

	begin_random();
	if (call_pair("a", "b", AF_UNIX, SOCK_STREAM, s))
		random_pair(s, random_socket_step, false);
}

static void random_tcp_script(void)
{
	int s[2];

	begin_random();
	if (tcp_pair(s))
		random_pair(s, random_socket_step, true);
}

static void random_pipe_step(struct end *e, bool tcp)
{
	(void)tcp;
	switch (dice(8)) {
	case 0:
	case 1:
	case 2:
		if (!waits(e->writing))
			e->writing = do_write(e->fd, dice(dice(2) ? 100 : 30000), 0);
		break;
	case 3:
	case 4:
		if (!waits(e->reading))
			e->reading = do_read(e->fd, dice(dice(2) ? 100 : 30000), 0);
		break;
	case 5: random_poll(e); break;
	case 6: random_cancel(e); break;
	default:
		if (!dice(4))
			random_close(e);
		break;
	}
}

static void random_pipe_script(void)
{
	int p[2];

	begin_random();
	if (call_pipe(p, dice(4) ? 0 : O_NONBLOCK))
		random_pair(p, random_pipe_step, false);
}

/* --- eventfds --- */

static void random_counter_script(void)
{
	struct act *a = NULL;
	int fd;

	begin_random();
	fd = call_eventfd(dice(4), dice(2) ? 0 : EFD_SEMAPHORE);
	for (int i = 0; i < RANDOM_STEPS; i++) {
		if (waits(a) && dice(4)) {
			if (dice(3))
				do_add(fd, 1 + dice(4));
			else
				do_cancel(a);
			continue;
		}
		if (waits(a))
			continue;
		switch (dice(4)) {
		case 0: do_add(fd, dice(4)); break;
		case 1: a = do_poll(fd, dice(2) ? POLLIN : POLLIN | POLLOUT); break;
		default: a = do_read(fd, 8 + dice(3), 0); break;
		}
	}
}

/* --- files --- */

static int64_t random_offset(void)
{
	return dice(3) ? (int64_t)dice(dice(2) ? 100 : 20000) : -1;
}

static void random_file_step(int fd)
{
	switch (dice(8)) {
	case 0:
	case 1:
	case 2: do_read(fd, dice(dice(2) ? 50 : 10000), random_offset()); break;
	case 3:
	case 4:
	case 5: do_write(fd, dice(dice(2) ? 50 : 10000), random_offset()); break;
	case 6: do_stat(fd, "", AT_EMPTY_PATH); break;
	default: do_allocate(fd, dice(2) ? FALLOC_FL_KEEP_SIZE : 0, dice(20000), dice(5000)); break;
	}
}

static void random_file_script(void)
{
	int fds[4];

	begin_random();
	fds[0] = do_open("/file", O_RDWR | O_CREAT);
	fds[1] = do_open("/file", O_WRONLY | O_APPEND);
	fds[2] = do_open("/file", O_RDONLY);
	fds[3] = call_dup(fds[0], "shared");
	for (int i = 0; i < RANDOM_STEPS; i++) {
		random_file_step(fds[dice(4)]);
		if (!dice(20))
			call_close(do_open("/file", O_WRONLY | O_TRUNC));
	}
}

/* --- trees --- */

static const char *random_path(char text[32])
{
	static const char *const names[] = { "a", "b", "c", ".", ".." };
	size_t len = 0;

	/* Not further than one above the directory. */
	for (unsigned n = 1 + dice(3), i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, 32 - len, "%s%s", i ? "/" : "",
					names[dice(i ? 5 : 3)]);
	if (!dice(6))
		snprintf(text + len, 32 - len, "/");
	return text;
}

static void random_open(int base, const char *path)
{
	static const int flags[] = { O_RDONLY, O_RDWR, O_RDWR | O_CREAT, O_RDWR | O_CREAT | O_EXCL,
				     O_RDONLY | O_DIRECTORY };
	int fd = do_open_at(base, path, flags[dice(COUNT(flags))], 0644);

	if (fd >= 0)
		call_close(fd);
}

static void random_tree_script(void)
{
	char a[32], b[32];
	int base = base_directory();

	do_mkdir(base, "tree", 0755);
	base = do_open_at(base, "tree", O_RDONLY | O_DIRECTORY, 0);
	begin_random();
	for (int i = 0; i < 2 * RANDOM_STEPS; i++) {
		random_path(a);
		switch (dice(7)) {
		case 0: do_mkdir(base, a, 0755); break;
		case 1:
		case 2: random_open(base, a); break;
		case 3: do_unlink(base, a, dice(2) ? AT_REMOVEDIR : 0); break;
		case 4: do_stat(base, a, 0); break;
		default: do_rename(base, a, random_path(b), dice(4) ? 0 : RENAME_NOREPLACE); break;
		}
	}
}

#endif
