/*
 * Many slow peers on a tiny ring: the completion queue overflows while sends fail for want of room. What
 * arrives must still be what was written.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <torc/torc.h>

#define STREAMS 300
#define ROUNDS  6
#define REPLY   12000

static int ends[STREAMS][2];
static long wrong_bytes, short_streams;
static unsigned long long overflows;
static sem_t go, sent;

static int reply(void *arg)
{
	static char replies[ROUNDS][REPLY];
	struct torc_stream s;
	struct torc_slice in;
	int r = torc_stream_open(&s, ends[(intptr_t)arg][0]);

	for (int k = 0; k < ROUNDS && !r; k++) {
		memset(replies[k], 'A' + k, REPLY);
		r = torc_stream_peek(&s, &in) > 0 ? 0 : -EIO;
		if (!r) {
			torc_stream_consume(&s, 1);
			r = torc_stream_write(&s, replies[k], REPLY);
		}
	}
	return torc_stream_close(&s) < 0 ? -EIO : r;
}

/* Ask all for all, then read what they say, one after the other: the others' sends do not fit meanwhile. */
static void *peers(void *arg)
{
	static char buf[65536];

	(void)arg;
	sem_wait(&go);
	for (int k = 0; k < ROUNDS; k++)
		for (int i = 0; i < STREAMS; i++)
			if (send(ends[i][1], "x", 1, MSG_NOSIGNAL) != 1)
				short_streams++;
	sem_post(&sent);
	for (int i = 0; i < STREAMS; i++) {
		long total = 0;
		ssize_t n;

		while ((n = read(ends[i][1], buf, sizeof(buf))) > 0)
			for (ssize_t j = 0; j < n; j++, total++)
				wrong_bytes += buf[j] != 'A' + total / REPLY;
		short_streams += total != (long)ROUNDS * REPLY;
		close(ends[i][1]);
	}
	return NULL;
}

static int app(void *arg)
{
	struct torc_group g;
	struct torc_stats stats;
	int r = 0;

	(void)arg;
	torc_group_enter_supervisor(&g);
	for (intptr_t i = 0; i < STREAMS && !r; i++)
		r = torc_group_spawn(&g, reply, (void *)i);
	/* All receives wait in the kernel; then all have data while the loop stands still. */
	if (!r)
		r = torc_sleep(1000);
	sem_post(&go);
	sem_wait(&sent);
	torc_group_wait(&g);
	torc_stats(&stats);
	overflows = stats.overflows;
	return r;
}

static void exchange(void)
{
	const int bytes = 4608;
	pthread_t thread;

	sem_init(&go, 0, 0);
	sem_init(&sent, 0, 0);
	for (int i = 0; i < STREAMS; i++) {
		cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends[i]), 0);
		setsockopt(ends[i][0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	}
	cr_assert_eq(pthread_create(&thread, NULL, peers, NULL), 0);
	cr_assert_eq(torc_run(&(struct torc_options){ .ring_entries = 8 }, app, NULL), 0);
	pthread_join(thread, NULL);
	cr_assert_eq(wrong_bytes, 0);
	cr_assert_eq(short_streams, 0);
}

Test(overflow, replies_arrive_whole_when_completions_overflow, .timeout = 60)
{
	exchange();
	/* Without it the kernel posts completions whenever the thread returns from a system call. */
	setenv("TORC_DISABLE", "defer_taskrun", 1);
	for (int i = 0; i < 8; i++) /* which sends fail behind which receives differs */
		exchange();
	cr_assert_gt(overflows, 0, "the test must make the queue overflow");
}
