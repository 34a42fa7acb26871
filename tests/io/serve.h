/*
 * tests/io/serve.h - servers in fibers, with any options, and clients that look after them.
 */
#ifndef TESTS_IO_SERVE_H
#define TESTS_IO_SERVE_H

#include "tests/io/run.h"

static const struct torc_options loops3 = { .loops = 3, .no_pin = true };

static inline void run_with_loops(torc_fn *fn, void *arg)
{
	run(fn, arg);
	check_eq(run_with(&loops3, fn, arg), 0);
}

/* A server in a fiber of its own, and what it told. */
struct instance {
	struct torc_serve_options options; /* but for what start_instance sets */
	const char *addresses[4];          /* NULL-terminated */
	char bound[4][TORC_ADDRESS_MAX];
	int bound_count, error_count, last_error, result;
	bool ended;
	struct torc_task task;
	struct torc_group group;
	_Atomic int started, finished, last_result;
};

static inline void on_instance_listens(const char *address, void *arg)
{
	struct instance *in = arg;

	strcpy(in->bound[in->bound_count++], address);
}

static inline void on_instance_error(const char *address, int error, void *arg)
{
	struct instance *in = arg;

	(void)address;
	in->error_count++;
	in->last_error = error;
}

static inline int instance_main(void *arg)
{
	struct instance *in = arg;

	in->result = torc_serve_with(&in->options);
	in->ended = true;
	return 0;
}

/* Sends back what comes; "L" is answered with the number of the loop. */
static inline int echo_handler(struct torc_stream *s, void *arg)
{
	struct instance *in = arg;
	struct torc_slice view;
	int r;

	in->started++;
	while ((r = torc_stream_peek(s, &view)) > 0) {
		char loop = (char)('0' + torc_loop_index());

		r = torc_stream_write(s, *view.data == 'L' ? &loop : view.data,
				      *view.data == 'L' ? 1 : view.len);
		if (r < 0)
			break;
		torc_stream_consume(s, view.len);
	}
	in->last_result = r;
	in->finished++;
	return r;
}

/* Without waiting for anything. */
static inline void launch_instance(struct instance *in)
{
	struct torc_spawn_options o = { .task = &in->task };

	if (!in->addresses[0])
		in->addresses[0] = "127.0.0.1:0";
	in->options.addresses = in->addresses;
	in->options.arg = in;
	in->options.on_listen = on_instance_listens;
	in->options.on_error = on_instance_error;
	if (!in->options.handler)
		in->options.handler = echo_handler;
	torc_group_enter(&in->group);
	check_eq(torc_group_spawn_with(&in->group, &o, instance_main, in), 0);
}

static inline void start_instance(struct instance *in)
{
	launch_instance(in);
	while (!in->bound_count && !in->ended)
		torc_yield();
}

/* After it has ended. */
static inline void restart_instance(struct instance *in)
{
	in->bound_count = in->ended = 0;
	in->started = in->finished = 0;
	start_instance(in);
}

/* It ends by itself. */
static inline void join_instance(struct instance *in, int result)
{
	check_eq(torc_task_join(&in->task), 0);
	check_eq(torc_group_wait(&in->group), 0);
	check_eq(in->result, result);
	check_eq(in->started, in->finished);
}

static inline void stop_instance(struct instance *in)
{
	torc_task_cancel(&in->task);
	join_instance(in, 0);
}

static inline void stop_instance_within(struct instance *in, uint64_t ns)
{
	uint64_t begin = torc_now_ns();

	stop_instance(in);
	check_lt(torc_now_ns() - begin, ns);
}

static inline void await_instance(const struct instance *in)
{
	while (!in->ended)
		check_eq(torc_sleep(TORC_MS(1)), 0);
}

static inline int dial_instance(const struct instance *in, int which)
{
	int fd = torc_dial(in->bound[which]);

	check_ge(fd, 0);
	return fd;
}

static inline void ping(int fd)
{
	char buf[4];

	check_eq(torc_send(fd, "ping", 4, 0), 4);
	check_eq(torc_recv(fd, buf, 4, MSG_WAITALL), 4);
	check(!memcmp(buf, "ping", 4));
}

/* No more than so many beside those that are open. Returns the limit that there was. */
static inline struct rlimit spare_descriptors(int count)
{
	struct rlimit before, few;

	check_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = before;
	few.rlim_cur = (rlim_t)(count_fds() + count);
	check_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	return before;
}

/* Handlers that run, or fewer: on other loops one may end, and the next begin, in between. */
static inline int running(const struct instance *in)
{
	int started = in->started;

	return started - in->finished;
}

/* Clients that have sent a byte get it back and leave, in any order; never do more than `most` connections run. */
static inline void take_turns(const struct instance *in, int *client, int count, int most)
{
	for (int left = count; left; torc_yield()) {
		for (int i = 0; i < count; i++) {
			struct pollfd p = { .fd = client[i], .events = POLLIN };
			char byte;

			if (client[i] < 0 || poll(&p, 1, 0) != 1)
				continue;
			check_eq(torc_recv(client[i], &byte, 1, 0), 1);
			check_le(running(in), most);
			torc_close(client[i]);
			client[i] = -1;
			left--;
		}
	}
}

/* The peer ends the connection, within a few seconds. */
static inline void expect_end(int fd)
{
	struct torc_scope t;
	char byte;
	int r;

	torc_scope_enter(&t, TORC_SECONDS(10));
	while ((r = torc_recv(fd, &byte, 1, 0)) > 0)
		;
	torc_scope_leave(&t);
	check(r == 0 || r == -ECONNRESET);
	torc_close(fd);
}

#endif
