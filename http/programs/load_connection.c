#include "http/programs/load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <torc/io/file.h>
#include <torc/io/socket.h>

#include "io/internal/stream.h"

/*
 * A fiber for each connection, on a stream: the stream's receive stays armed and puts what has come into buffers that the loop
 * shares, and what all connections of a turn send goes to the kernel with the one call that ends it. What is left per request
 * is a switch of fibers each way, which is a hundredth of what the kernel does for it.
 */

const char *const load_error_names[LOAD_ERRORS] = {
	[LOAD_CONNECT] = "connect", [LOAD_READ] = "read",           [LOAD_WRITE] = "write",
	[LOAD_TIMEOUT] = "timeout", [LOAD_MALFORMED] = "malformed", [LOAD_EARLY] = "early_close",
};

/* --- what came of a request --- */

static unsigned left(const struct load_connection *c)
{
	return c->count - c->done;
}

static uint64_t since(uint64_t begin_ns, uint64_t now_ns)
{
	return now_ns > begin_ns ? now_ns - begin_ns : 0;
}

static void record(struct load_connection *c, unsigned count, uint64_t now)
{
	struct load_loop *l = c->loop;

	if (!l->load->rate) {
		hdr_record(&l->latency, since(c->sent_ns, now), count);
		return;
	}
	for (unsigned i = 0; i < count; i++)
		hdr_record(&l->latency, since(load_due(l, c->first + c->done + i), now), 1);
}

void load_answered(struct load_connection *c, unsigned count, uint16_t status)
{
	struct load_loop *l = c->loop;
	uint64_t now = torc_turn_ns();
	unsigned class = status / 100;

	if (!count)
		return;
	if (c->measured) {
		record(c, count, now);
		l->counts.answers += count;
		l->counts.by_class[class < 6 ? class : 0] += count;
		l->last_ns = now;
	}
	c->done += count;
	c->answered = true;
	c->since_ns = now;
}

void load_consume(struct load_connection *c, size_t n)
{
	torc_stream_consume(&c->stream, n);
	if (c->measured)
		c->loop->counts.received_bytes += n;
}

static const char *reason(enum load_error kind)
{
	static const char *const reasons[LOAD_ERRORS] = {
		[LOAD_CONNECT] = "cannot connect",
		[LOAD_READ] = "the connection failed",
		[LOAD_WRITE] = "the connection failed while writing",
		[LOAD_TIMEOUT] = "no answer in time",
		[LOAD_MALFORMED] = "a malformed answer",
		[LOAD_EARLY] = "the server closed the connection before it had answered",
	};

	return reasons[kind];
}

/* The first reason of a loop is kept. */
static void explain(struct load_connection *c, enum load_error kind, int error)
{
	struct load_loop *l = c->loop;
	char why[TORC_TLS_WHY_MAX] = "";

	if (*l->why)
		return;
	if (c->open)
		torc_tls_why(&c->stream, why);
	if (!*why && error)
		snprintf(why, sizeof(why), "%s", strerror(-error));
	snprintf(l->why, sizeof(l->why), "%s%s%s", reason(kind), *why ? ": " : "", why);
}

int load_fail(struct load_connection *c, enum load_error kind, int error)
{
	explain(c, kind, error);
	if (c->measured)
		c->loop->counts.errors[kind] += left(c);
	c->count = c->done = 0;
	return LOAD_FAILED;
}

int load_ended(struct load_connection *c, int r, bool inside)
{
	if (c->overdue)
		return load_fail(c, LOAD_TIMEOUT, 0);
	if (r == -ECANCELED || r == -ETIMEDOUT) /* the run is over: nobody's fault */
		return LOAD_FAILED;
	/*
	 * Between answers a server may close, and where our next request crosses that, it is a reset. It must have answered
	 * something, or this would go on for ever.
	 */
	if (c->answered && !inside && (!r || r == -ECONNRESET || r == -EPIPE))
		return LOAD_CLOSED;
	if (!r)
		return load_fail(c, LOAD_EARLY, 0);
	return load_fail(c, r == -EPIPE ? LOAD_WRITE : LOAD_READ, r);
}

/* --- a train --- */

static int write_some(struct load_connection *c)
{
	const struct load *load = c->loop->load;
	size_t from = c->done * load->request_bytes, len = left(c) * load->request_bytes;
	int r = torc_stream_write(&c->stream, load->train.data + from, len);

	if (!r && c->measured)
		c->loop->counts.sent_bytes += len;
	return r;
}

/* A fiber. What fails here is seen by who reads, and an answer that came before it too. */
static int writer_main(void *arg)
{
	struct load_connection *c = arg;

	if (!write_some(c))
		c->writing = false;
	return 0;
}

/* A server that has answered all does not read the rest. */
static int write_and_read(struct load_connection *c)
{
	struct torc_group group;
	int r, started;

	torc_group_enter(&group);
	c->writing = true;
	started =
		torc_group_spawn_with(&group, &(struct torc_spawn_options){ .name = "load writer" },
				      writer_main, c);
	r = started < 0 ? load_fail(c, LOAD_WRITE, started) : c->loop->load->read_answers(c);
	torc_group_cancel(&group);
	(void)torc_group_wait(&group); /* it never fails */
	return !r && c->writing ? LOAD_CLOSED : r;
}

static int exchange(struct load_connection *c)
{
	const struct load *load = c->loop->load;
	int r;

	if (left(c) * load->request_bytes > LOAD_INLINE_BYTES_MAX)
		return write_and_read(c);
	r = write_some(c);
	return r < 0 ? load_ended(c, r, false) : load->read_answers(c);
}

/* While there was nothing to send it may have been closed; and bytes behind the last answer are no answer to what comes next. */
static bool is_spent(struct load_connection *c)
{
	struct torc_slice in;
	bool surplus = torc__stream_shown(&c->stream, &in);

	if (surplus && c->measured)
		c->loop->counts.surplus++;
	return surplus || torc__stream_has_ended(&c->stream);
}

/* Trains, until there are no more: 0; or enum load_end. */
static int use(struct load_connection *c)
{
	int r = 0;

	while (!r && (left(c) || load_claim(c))) {
		c->sent = false;
		if (c->answered && is_spent(c))
			return LOAD_CLOSED;
		c->sent = true;
		c->since_ns = torc_turn_ns();
		r = exchange(c);
		c->since_ns = 0;
	}
	return r;
}

/* --- a connection --- */

static int open_stream(struct load_connection *c)
{
	const struct load *load = c->loop->load;
	int fd = torc_dial(load->address), r;

	if (fd < 0)
		return fd;
	r = torc_stream_open(&c->stream, fd);
	if (r < 0) {
		torc_close(fd);
		return r;
	}
	c->open = true;
	return load->is_tls ? torc_tls_connect(&c->stream, load->tls, load->host) : 0;
}

static int connect_stream(struct load_connection *c)
{
	struct load_loop *l = c->loop;
	int r;

	c->since_ns = torc_turn_ns();
	r = open_stream(c);
	c->since_ns = 0;
	if (!r) {
		atomic_fetch_add_explicit(&l->load->connected, 1, memory_order_relaxed);
		return 0;
	}
	if (!c->overdue && (r == -ECANCELED || torc_scope_status() < 0))
		return LOAD_FAILED;
	explain(c, LOAD_CONNECT, c->overdue ? -ETIMEDOUT : r);
	l->counts.errors[LOAD_CONNECT]++;
	return LOAD_FAILED;
}

/* After a failure what is unsent is of no use to anybody: it must not keep us. */
static void close_stream(struct load_connection *c, int r)
{
	if (!c->open)
		return;
	if (r)
		torc_scope_cancel(&c->scope);
	torc_stream_close(&c->stream);
	c->open = false;
}

/* All begin together: it is not measured how fast the others connect. */
static void wait_for_begin(struct load_connection *c, bool *settled)
{
	if (*settled)
		return;
	*settled = true;
	torc_latch_count_down(&c->loop->load->settled);
	(void)!torc_event_wait(
		&c->loop->load->begun); /* if not for it, what comes next sees the scope too */
}

static int run_connection(struct load_connection *c, bool *settled)
{
	int r;

	torc_scope_enter(&c->scope, TORC_NEVER);
	c->answered = c->overdue = false;
	r = connect_stream(c);
	if (!r) {
		wait_for_begin(c, settled);
		r = use(c);
	}
	close_stream(c, r);
	torc_scope_leave(&c->scope);
	wait_for_begin(c, settled); /* not in a scope that was cancelled for taking too long */
	return r;
}

/* After one that was of no use: 10 ms, 20 ms ... 160 ms. */
static int rest(struct load_connection *c)
{
	if (c->answered) {
		c->fruitless = 0;
		return 0;
	}
	return torc_sleep(TORC_MS(10) << (c->fruitless < 4 ? c->fruitless++ : 4));
}

/* Is there a reason to connect again? */
static bool goes_on(struct load_connection *c, int r)
{
	struct load_loop *l = c->loop;

	/* In this order: it may have been cancelled before the times were fixed. */
	if (!r || torc_scope_status() < 0 || torc_turn_ns() >= l->load->end_ns)
		return false;
	if (!(left(c) || l->budget_left) || rest(c) < 0)
		return false;
	if (r == LOAD_CLOSED && c->measured) {
		l->counts.reconnects++;
		l->counts.resent += c->sent ? left(c) : 0;
	}
	return true;
}

int load_connection_main(void *arg)
{
	struct load_connection *c = arg;
	struct load_loop *l = c->loop;
	bool settled = false;

	while (goes_on(c, run_connection(c, &settled)))
		;
	if (c->measured)
		l->counts.unanswered += left(c);
	if (!--l->live)
		torc_task_cancel(&l->watchdog);
	return 0;
}
