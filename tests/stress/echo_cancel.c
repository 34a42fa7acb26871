/*
 * echo_cancel - a server on several loops and clients that break off at any time.
 *
 *	echo_cancel [SECONDS [SEED]]
 *
 * Clients on every loop dial, send, half-close, reset, or give up at a random deadline; what comes back is
 * checked byte by byte. Now and then the server is stopped and started again. At the end nothing may be left:
 * no connection, no descriptor. Exit status: 0 passed, 1 failed, 77 no io_uring here.
 */
#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <torc/torc.h>

#include "tests/support/random.h"

enum {
	LOOPS = 3,
	CLIENTS = 24, /* per loop */
	ENOUGH = 100, /* connections that have finished, and as many that were cut short */
};

static struct {
	_Atomic bool stop;
	_Atomic uint64_t finished, cut, refused, bytes;
	_Atomic int open; /* connections of the server */
	char address[TORC_ADDRESS_MAX];
	uint64_t seconds, seed;
} test = { .seconds = 3, .seed = 1 };

#define check(what)                                                                            \
	do {                                                                                   \
		if (!(what)) {                                                                 \
			fprintf(stderr, "%s:%d: failed: %s (seed %llu)\n", __FILE__, __LINE__, \
				#what, (unsigned long long)test.seed);                         \
			exit(1);                                                               \
		}                                                                              \
	} while (0)

static int echo(struct torc_stream *s, void *arg)
{
	struct torc_slice in;
	int r;

	(void)arg;
	atomic_fetch_add(&test.open, 1);
	while ((r = torc_stream_peek(s, &in)) > 0) {
		r = torc_stream_write(s, in.data, in.len);
		if (r < 0)
			break;
		torc_stream_consume(s, in.len);
	}
	atomic_fetch_sub(&test.open, 1);
	return r;
}

static void reset(int fd)
{
	const struct linger now = { .l_onoff = 1 };

	check(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)) == 0);
	torc_close(fd);
}

static char byte_at(uint64_t at)
{
	return (char)(at * 7 + (at >> 8));
}

struct talk {
	struct torc_stream s;
	uint64_t seed, bytes;
};

static int speak(void *arg)
{
	struct talk *t = arg;
	uint64_t at = 0;
	char *room;
	int r = 0;

	while (at < t->bytes && !r) {
		size_t len = 1 + next_random(&t->seed) % 16000;

		len = len < t->bytes - at ? len : t->bytes - at;
		r = torc_stream_reserve(&t->s, len, &room);
		if (r)
			break;
		for (size_t i = 0; i < len; i++)
			room[i] = byte_at(at + i);
		torc_stream_commit(&t->s, len);
		at += len;
	}
	return r ? r : torc_stream_shutdown(&t->s);
}

/* Everything that came back is what was sent, in order, however it ends. */
static int listen_to(struct talk *t, uint64_t *ret_at)
{
	struct torc_slice in;
	uint64_t at = 0;
	int r;

	while ((r = torc_stream_peek(&t->s, &in)) > 0) {
		for (size_t i = 0; i < in.len; i++)
			check(in.data[i] == byte_at(at + i));
		at += in.len;
		torc_stream_consume(&t->s, in.len);
	}
	*ret_at = at;
	return r;
}

static int talk(int fd, uint64_t seed)
{
	struct talk t = { .seed = seed, .bytes = next_random(&seed) % 200000 };
	struct torc_group g;
	uint64_t at;
	int r, both;

	check(torc_stream_open(&t.s, fd) == 0);
	torc_group_enter(&g);
	check(torc_group_spawn(&g, speak, &t) == 0);
	r = listen_to(&t, &at);
	if (r < 0)
		torc_group_cancel(&g);
	both = torc_group_wait(&g);
	torc_stream_close(&t.s);
	check(at <= t.bytes);
	if (!r && !both && at == t.bytes)
		return 0;
	return r < 0 ? r : both < 0 ? both : -EPIPE; /* the server was stopped */
}

static void one_connection(uint64_t *seed)
{
	struct torc_scope t;
	int fd, r;

	torc_scope_enter(&t,
			 next_random(seed) % 3 ? next_random(seed) % 3000000 : TORC_SECONDS(20));
	fd = torc_dial(test.address);
	if (fd < 0)
		r = fd;
	else if (next_random(seed) % 8)
		r = talk(fd, next_random(seed));
	else
		reset(fd), r = -ECANCELED;
	torc_scope_leave(&t);
	if (!r)
		atomic_fetch_add(&test.finished, 1);
	else if (r == -ECONNREFUSED)
		atomic_fetch_add(&test.refused, 1);
	else
		atomic_fetch_add(&test.cut, 1);
	if (r == -ECONNREFUSED)
		(void)torc_sleep(TORC_MS(1)); /* the server is being started again */
}

static int client(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg;

	while (!atomic_load(&test.stop))
		one_connection(&seed);
	return 0;
}

static void on_listen(const char *address, void *arg)
{
	(void)arg;
	if (!*test.address)
		strcpy(test.address, address);
}

/* Serves for a random time, again and again, on the same address. */
static int server(void *arg)
{
	uint64_t seed = test.seed;

	(void)arg;
	while (!atomic_load(&test.stop)) {
		const char *addresses[] = { *test.address ? test.address : "127.0.0.1:0", NULL };
		struct torc_scope t;
		int r;

		torc_scope_enter(&t, TORC_MS(50 + next_random(&seed) % 500));
		r = torc_serve_with(&(struct torc_serve_options){ .addresses = addresses,
								  .handler = echo,
								  .grace_ns = TORC_MS(20),
								  .on_listen = on_listen });
		torc_scope_leave(&t);
		if (r != -ETIMEDOUT)
			fprintf(stderr, "torc_serve: %d\n", r);
		check(r == -ETIMEDOUT);
		check(atomic_load(&test.open) == 0);
	}
	return 0;
}

static int app(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	check(torc_group_spawn(&g, server, NULL) == 0);
	while (!*test.address)
		torc_yield();
	for (uint64_t i = 0; i < LOOPS * CLIENTS; i++) {
		struct torc_spawn_options o = { .loop = TORC_ON_LOOP((int)(i % LOOPS)) };

		check(torc_group_spawn_with(&g, &o, client, (void *)(uintptr_t)(test.seed + i)) ==
		      0);
	}
	/* For a time, and until enough of either kind has happened: a sanitizer or a slow machine may need longer. */
	(void)torc_sleep(TORC_SECONDS(test.seconds));
	while (atomic_load(&test.finished) <= ENOUGH || atomic_load(&test.cut) <= ENOUGH)
		(void)torc_sleep(TORC_MS(100));
	atomic_store(&test.stop, true);
	return torc_group_wait(&g);
}

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	check(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

int main(int argc, char **argv)
{
	int r, before = count_fds();

	if (argc > 1)
		test.seconds = strtoull(argv[1], NULL, 10);
	if (argc > 2)
		test.seed = strtoull(argv[2], NULL, 10);
	r = torc_run(&(struct torc_options){ .loops = LOOPS, .no_pin = true, .recv_buffers = 64 },
		     app, NULL);
	if (r == -ENOSYS || r == -EPERM) {
		printf("no io_uring here\n");
		return 77;
	}
	printf("%llu finished, %llu cut short, %llu refused\n", (unsigned long long)test.finished,
	       (unsigned long long)test.cut, (unsigned long long)test.refused);
	check(r == 0);
	check(count_fds() == before);
	return 0;
}
