/*
 * io/stream_copy.c - from stream to stream.
 *
 * Where both have descriptors that can be spliced, the bytes go from one to the other inside of the kernel: splice(2), called
 * directly, since it does not wait (the descriptors are non-blocking), and a poll in the ring where it would. The ring's own
 * operation for it is no help: it always goes to a thread of the kernel, which costs more than it moves. A socket needs a pipe
 * in between; it is taken from the loop's when there is something to move, and given back when that has got through, so
 * that a connection that waits has none. A long file is the exception: reading it may wait for a disk, so that the ring
 * does it, and its bytes too go through a pipe.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <torc/core/scope.h>
#include <torc/io/file.h>
#include <torc/io/stream.h>

#include "core/internal/fiber.h"
#include "io/internal/call.h"
#include "io/internal/pipes.h"
#include "io/internal/stream.h"

/* Rounds without a wait after which other fibers have their turn. */
#define ROUNDS 16

struct copy {
	struct torc_stream *to, *from;
	uint64_t left, copied;
	int rounds;
};

/* --- what is shown, by copying --- */

static void count(struct copy *c, size_t n)
{
	c->left -= n;
	c->copied += n;
}

/* Everything that is there, without waiting for more. */
static int copy_shown(struct copy *c)
{
	struct torc_slice view;

	while (c->left && torc__stream_shown(c->from, &view)) {
		int r;

		if (view.len > c->left)
			view.len = (size_t)c->left;
		r = torc_stream_write(c->to, view.data, view.len);
		if (r < 0)
			return r;
		torc_stream_consume(c->from, view.len);
		count(c, view.len);
	}
	return 0;
}

static int copy_by_memory(struct copy *c)
{
	struct torc_slice view;
	int r = 0;

	while (!r && c->left) {
		r = torc_stream_peek(c->from, &view);
		if (r > 0)
			r = copy_shown(c);
		else
			return r;
	}
	return r;
}

/* --- splicing --- */

enum end_kind {
	OTHER,
	PIPE,
	SOCKET,
	LONG_FILE, /* of which it pays */
};

static enum end_kind kind_of(int fd)
{
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return OTHER;
	if (S_ISREG(st.st_mode) && st.st_size >= TORC__SPLICE_LEAST)
		return LONG_FILE;
	return S_ISSOCK(st.st_mode) ? SOCKET : S_ISFIFO(st.st_mode) ? PIPE : OTHER;
}

/* How long one wait for it may take. */
static uint64_t within_ns(const struct copy *c)
{
	return c->to->tx_wait_ns ? c->to->tx_wait_ns : TORC_NEVER;
}

/* Let other fibers run now and then, though nothing has to be waited for. */
static int take_turns(struct copy *c)
{
	if (++c->rounds < ROUNDS)
		return 0;
	c->rounds = 0;
	return torc_yield();
}

static size_t at_once(const struct copy *c)
{
	return c->left < TORC__PIPE_BYTES ? (size_t)c->left : TORC__PIPE_BYTES;
}

/* A connection that failed while we sent has told so to the send: torc__stream_tx_failure. */
static int at_end(struct copy *c)
{
	c->from->rx_eof = true;
	return torc__stream_tx_failure(c->from);
}

/* A socket tells its failure once: a later read would find an end like any other. */
static int failed_to_read(struct copy *c, int r)
{
	if (!torc__splice_is_refused(r))
		c->from->rx_error = r;
	return r;
}

/* Nor is a scope that has ended its failure. */
static int failed_to_read_file(struct copy *c, int r)
{
	return r == torc_scope_status() ? r : failed_to_read(c, r);
}

static int failed_directly(struct copy *c, int r)
{
	/* A pipe to read from does not fail, and one to write to only with EPIPE. */
	bool sending = r == -EPIPE || kind_of(c->from->fd) == PIPE;

	if (!sending)
		return failed_to_read(c, r);
	if (!torc__splice_is_refused(r))
		torc__stream_tx_failed(c->to, r);
	return r;
}

/* One of both is a pipe, so that none is needed in between. */
static int splice_directly(struct copy *c)
{
	int r = 0;

	while (!r && c->left) {
		ssize_t n = torc__splice_now(c->from->fd, c->to->tx_fd, at_once(c));

		if (!n)
			return at_end(c);
		if (n > 0) {
			count(c, (size_t)n);
			r = take_turns(c);
		} else if (n != -EAGAIN) {
			return failed_directly(c, (int)n);
		} else {
			/* It does not say which of them was not ready; the one that is costs little. */
			r = torc__stream_await_readable(c->from);
			if (!r)
				r = torc__await_writable(c->to->tx_fd, within_ns(c));
		}
	}
	return r;
}

/* All that is in the pipe. */
static int push_out(struct copy *c, struct torc__pipe pipe, size_t len)
{
	size_t moved;
	int r = torc__pipe_empty(pipe.rx, c->to->tx_fd, len, within_ns(c), &moved);

	if (r < 0)
		torc__stream_tx_failed(c->to, r); /* what is in the pipe is lost */
	return r;
}

/* Returns 1 when there is nothing to move just now. */
static int splice_once(struct copy *c)
{
	struct torc__loop *loop = c->from->buffers->loop;
	struct torc__pipe pipe;
	ssize_t n;
	int r = torc__pipe_take(loop, &pipe);

	if (r < 0)
		return r;
	n = torc__splice_now(c->from->fd, pipe.tx, at_once(c));
	if (n > 0) {
		count(c, (size_t)n);
		r = push_out(c, pipe, (size_t)n);
	}
	torc__pipe_give(loop, pipe, n <= 0 || !r);
	if (n > 0)
		return r;
	if (!n)
		return at_end(c);
	return n == -EAGAIN ? 1 : failed_to_read(c, (int)n);
}

static int splice_through_pipe(struct copy *c)
{
	int r = 0;

	while (r >= 0 && c->left && !c->from->rx_eof) {
		r = splice_once(c);
		if (r > 0)
			r = torc__stream_await_readable(c->from);
		else if (!r)
			r = take_turns(c);
	}
	return r;
}

/* The ring reads the file, at its own position, so that a disk is not waited for here. 0: the end, or so much as was asked for. */
static int splice_file(struct copy *c)
{
	struct torc__loop *loop = c->from->buffers->loop;
	int r = 0;

	while (!r && c->left) {
		struct torc__pipe pipe;
		int n;

		r = torc__pipe_take(loop, &pipe);
		if (r < 0)
			return r;
		n = torc_splice(c->from->fd, -1, pipe.tx, -1, at_once(c), SPLICE_F_MOVE);
		if (n > 0) {
			count(c, (size_t)n);
			r = push_out(c, pipe, (size_t)n);
		}
		torc__pipe_give(loop, pipe, n >= 0 && !r);
		if (!n)
			return at_end(c);
		if (n < 0)
			return failed_to_read_file(c, n);
	}
	return r;
}

/* --- which of them --- */

/* Can it be spliced, and how? NULL: it cannot. */
static int (*splicer(const struct copy *c))(struct copy *)
{
	enum end_kind from, to;

	if (!torc__on_linux() || c->from->buffers->loop->ring.disabled & TORC__SPLICE ||
	    c->from->rx_rate || c->to->tx_rate)
		return NULL;
	from = kind_of(c->from->fd);
	to = kind_of(c->to->tx_fd);
	if (from == LONG_FILE && to == SOCKET)
		return torc__set_nonblocking(c->to->tx_fd) ? splice_file : NULL;
	if (from == LONG_FILE || to == LONG_FILE)
		return NULL;
	if (!from || !to || !torc__set_nonblocking(c->from->fd) ||
	    !torc__set_nonblocking(c->to->tx_fd))
		return NULL;
	return from == PIPE || to == PIPE ? splice_directly : splice_through_pipe;
}

/* What was received and what is unsent goes first. */
static int splice_all(struct copy *c, int (*splice_rest)(struct copy *))
{
	uint64_t before;
	int r;

	torc__stream_stop_receiving(c->from);
	r = copy_shown(c);
	if (!r)
		r = torc_stream_flush(c->to);
	if (r < 0 || !c->left)
		return r;
	if (c->from->rx_error)
		return c->from->rx_error;
	if (c->from->rx_eof)
		return at_end(c);
	before = c->copied;
	r = splice_rest(c);
	torc__stream_took(c->from, c->copied - before);
	return r;
}

static int copy_all(struct copy *c)
{
	int (*splice_rest)(struct copy *) = splicer(c);
	int r = splice_rest ? splice_all(c, splice_rest) : 0;

	/* After a refusal nothing is lost between, or one of them has failed. */
	if (splice_rest && (!torc__splice_is_refused(r) || c->to->tx_error || c->from->rx_error))
		return r;
	return copy_by_memory(c);
}

/* Where what is written to it goes without being touched; it has been sent what was written before. */
static int find_bare(struct torc_stream **to)
{
	struct torc_stream *s = *to, *bare;
	int r;

	if (torc__likely(!s->kind->bare) || s->tx_rate)
		return 0;
	r = torc_stream_flush(s);
	bare = r < 0 ? NULL : s->kind->bare(s);
	*to = bare ? bare : s;
	return r;
}

int torc_stream_copy(struct torc_stream *to, struct torc_stream *from, uint64_t most,
		     uint64_t *ret_copied)
{
	struct copy c = { .to = to, .from = from };
	int r = torc__scope_check(torc__self());

	if (!r)
		r = find_bare(&c.to);

	torc__stream_took(from, 0);
	c.left = most < from->rx_left ? most : from->rx_left;
	if (!r)
		r = copy_all(&c);
	if (!r)
		r = torc_stream_flush(to);
	if (ret_copied)
		*ret_copied = c.copied;
	return r;
}

int torc_stream_tee(struct torc_stream *to, struct torc_stream *also_to, struct torc_stream *from,
		    uint64_t most, uint64_t *ret_copied)
{
	uint64_t copied = 0;
	int r = 0;

	while (!r && copied < most) {
		struct torc_slice view;

		r = torc_stream_peek(from, &view);
		if (r <= 0)
			break;
		if (view.len > most - copied)
			view.len = (size_t)(most - copied);
		r = torc_stream_write(to, view.data, view.len);
		if (r < 0)
			break;
		r = torc_stream_write(also_to, view.data, view.len);
		if (r < 0 && !also_to->tx_error)
			torc__stream_tx_failed(also_to, r); /* the other one has what it lacks */
		torc_stream_consume(from, view.len);
		copied += view.len;
	}
	if (!r)
		r = torc_stream_flush(to);
	if (!r)
		r = torc_stream_flush(also_to);
	if (ret_copied)
		*ret_copied = copied;
	return r;
}
