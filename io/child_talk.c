/*
 * io/child_talk.c - a child's input and outputs, each by a fiber of its own, so that none waits for another.
 */
#include <torc/io/child.h>

#include <errno.h>

#include <torc/core/fiber.h>
#include <torc/core/gather.h>
#include <torc/core/sys.h>
#include <torc/io/file.h>
#include <torc/io/poll.h>

#include "core/internal/system.h"

#define FIRST_SIZE 4096

struct conversation {
	struct torc_child *child;
	struct torc_child_talk *talk;
};

struct drain {
	int *fd;
	char **data;
	size_t *len, *size;
	size_t limit;
	bool is_terminal;
};

static void close_fd(int *fd)
{
	torc_sys_close(*fd);
	*fd = -1;
}

/* --- outputs --- */

static int make_room(struct drain *d)
{
	size_t size = *d->size ? *d->size * 2 : FIRST_SIZE;
	char *data;

	if (*d->len < *d->size)
		return 0;
	if (size > d->limit)
		size = d->limit;
	data = torc__realloc(*d->data, size + 1); /* and the zero byte */
	if (!data)
		return -ENOMEM;
	data[*d->len] = '\0';
	*d->data = data;
	*d->size = size;
	return 0;
}

/* A terminal that nobody has open any more says so by -EIO. */
static int receive(const struct drain *d, char *to, size_t len)
{
	int r = torc_read(*d->fd, to, len);

	return r == -EIO && d->is_terminal ? 0 : r;
}

/* Is there more than fits? */
static int expect_end(const struct drain *d)
{
	char more;
	int r = receive(d, &more, 1);

	return r > 0 ? -EMSGSIZE : r;
}

static int drain(void *arg)
{
	struct drain *d = arg;
	int r;

	for (;;) {
		if (*d->len == d->limit) {
			r = expect_end(d);
			break;
		}
		r = make_room(d);
		if (r < 0)
			return r;
		r = receive(d, *d->data + *d->len, *d->size - *d->len);
		if (r <= 0)
			break;
		*d->len += (size_t)r;
		(*d->data)[*d->len] = '\0';
	}
	if (!r)
		close_fd(d->fd);
	return r;
}

/* --- the input --- */

static bool is_unwanted(int error)
{
	return error == -EPIPE || error == -EIO;
}

/* To a terminal, which is read too, so stays open. */
static int feed(void *arg)
{
	struct conversation *v = arg;
	struct torc_child_talk *t = v->talk;
	int fd = v->child->in >= 0 ? v->child->in : v->child->pty, r;

	while (t->input_done < t->input_len) {
		r = torc_write(fd, (const char *)t->input + t->input_done,
			       t->input_len - t->input_done);
		if (is_unwanted(r))
			break;
		if (r < 0)
			return r;
		t->input_done += (size_t)r;
	}
	if (v->child->in >= 0)
		torc_child_end_input(v->child);
	return 0;
}

/* --- all of it --- */

static int converse(void *arg)
{
	struct conversation *v = arg;
	struct torc_child *c = v->child;
	struct torc_child_talk *t = v->talk;
	size_t limit = t->limit ? t->limit : TORC_CHILD_OUTPUT_MAX;
	struct drain out = { c->out >= 0 ? &c->out : &c->pty,
			     &t->out,
			     &t->out_len,
			     &t->out_size,
			     limit,
			     c->out < 0 };
	struct drain err = { &c->err, &t->err, &t->err_len, &t->err_size, limit, false };
	struct torc_call calls[3];
	size_t n = 0;

	if (c->in >= 0 || c->pty >= 0)
		calls[n++] = (struct torc_call){ .fn = feed, .arg = v, .name = "child input" };
	if (*out.fd >= 0)
		calls[n++] = (struct torc_call){ .fn = drain, .arg = &out, .name = "child output" };
	if (c->err >= 0)
		calls[n++] = (struct torc_call){ .fn = drain, .arg = &err, .name = "child errors" };
	return torc_gather(calls, n);
}

/* For something that it has left behind. */
static int linger(void *arg)
{
	struct conversation *v = arg;
	int r = torc_poll(v->child->pidfd, POLLIN);

	return r < 0 ? r : torc_sleep(v->talk->linger_ns);
}

int torc_child_communicate(struct torc_child *c, struct torc_child_talk *t)
{
	struct conversation v = { c, t };
	struct torc_call calls[] = {
		{ .fn = converse, .arg = &v, .name = "child" },
		{ .fn = linger, .arg = &v, .name = "child end" },
	};
	int r;

	if (!t->linger_ns || c->pidfd < 0)
		return converse(&v);
	r = torc_race(calls, 2, TORC_FIRST_DONE, NULL);
	/* Both may have done: what has failed is told. */
	return r < 0 || calls[0].result == -ECANCELED || calls[0].result == -ETIMEDOUT
		       ? r
		       : calls[0].result;
}

void torc_child_talk_done(struct torc_child_talk *t)
{
	torc__free(t->out);
	torc__free(t->err);
	t->out = t->err = NULL;
	t->out_len = t->err_len = t->out_size = t->err_size = 0;
}

int torc_child_run(const struct torc_child_options *o, struct torc_child_talk *t,
		   struct torc_child_status *ret_status)
{
	struct torc_child c;
	int r = torc_child_start(&c, o);

	if (r < 0)
		return r;
	if (t)
		r = torc_child_communicate(&c, t);
	if (!r)
		r = torc_child_wait(&c, ret_status);
	torc_child_close(&c);
	return r;
}

int torc_run_command(const char *const *argv, struct torc_child_talk *t,
		     struct torc_child_status *ret_status)
{
	enum torc_child_stream output = t ? TORC_CHILD_PIPE : TORC_CHILD_INHERIT;
	const struct torc_child_options o = {
		.argv = argv,
		.in = { .stream = t && t->input_len ? TORC_CHILD_PIPE : TORC_CHILD_NULL },
		.out = { .stream = output },
		.err = { .stream = output },
	};

	return torc_child_run(&o, t, ret_status);
}
