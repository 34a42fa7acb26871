#include <torc/io/listener.h>

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <torc/core/fiber.h>
#include <torc/io/socket.h>

#include "core/internal/fiber.h"
#include "io/internal/address.h"

#define BACKLOG 4096

/* Accepted connections nobody has taken: from here on the rest stays in the kernel's queue. */
#define ACCEPTED_HIGH 64

/* How long to wait for descriptors or memory when they have run out. */
#define STARVED_NS TORC_MS(50)

/* --- listening --- */

/* A socket file whose server has gone is in the way of bind(2). */
static void remove_stale(const struct torc__address *a)
{
	struct stat st;
	int fd;

	if (stat(a->un.sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	if (connect(fd, &a->any, a->len) < 0 && errno == ECONNREFUSED)
		unlink(a->un.sun_path);
	close(fd);
}

static int set_options(int fd, int family, const struct torc_listen_options *o)
{
	const int one = 1, zero = 0;

	if (family == AF_UNIX)
		return 0;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
		return -errno;
	if (o->reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0)
		return -errno;
	if (family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero)) < 0)
		return -errno;
	/* Connections inherit it: answers go out at once, one send per turn gathers them already. */
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
		return -errno;
	return 0;
}

static int bind_and_listen(int fd, const struct torc__address *a,
			   const struct torc_listen_options *o)
{
	int r = set_options(fd, a->any.sa_family, o);

	if (r < 0)
		return r;
	if (bind(fd, &a->any, a->len) < 0)
		return -errno;
	return listen(fd, o->backlog ? o->backlog : BACKLOG) < 0 ? -errno : 0;
}

static int open_socket(const struct torc__address *a, const struct torc_listen_options *o)
{
	int r, fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (a->any.sa_family == AF_UNIX)
		remove_stale(a);
	r = bind_and_listen(fd, a, o);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

static void read_address(struct torc_listener *l)
{
	struct torc__address bound;

	memset(&bound, 0, sizeof(bound));
	bound.len = sizeof(bound.un);
	if (getsockname(l->fd, &bound.any, &bound.len) == 0)
		torc__address_format(&bound, l->address, sizeof(l->address));
}

int torc_listen(struct torc_listener *l, const char *text,
		const struct torc_listen_options *options)
{
	static const struct torc_listen_options defaults;
	const struct torc_listen_options *o = options ? options : &defaults;
	struct torc__address address;
	int r;

	memset(l, 0, sizeof(*l));
	r = torc__address_parse(text, true, &address);
	if (r < 0)
		return r;
	l->shared = o->share_fd > 0;
	r = l->shared ? o->share_fd : open_socket(&address, o);
	if (r < 0)
		return r;
	l->fd = r;
	read_address(l);
	return 0;
}

/* --- accepting --- */

static struct torc_listener *of_op(struct torc_op *op)
{
	return (struct torc_listener *)(void *)((char *)op - offsetof(struct torc_listener, op));
}

/*
 * Stops the accepting at the end of a turn: in on_accept no operation may be started, and a fiber that does
 * not come back to torc_accept would not stop it.
 */
struct brake {
	struct torc__turn_work work;    /* first */
	struct torc_listener *listener; /* NULL: closed meanwhile */
};

/* What torc_listener.accepted points into. */
struct accepted {
	struct brake *brake;
	int fds[];
};

static struct brake *brake_of(const struct torc_listener *l)
{
	return ((struct accepted *)(void *)((char *)l->accepted - offsetof(struct accepted, fds)))
		->brake;
}

static void run_brake(struct torc__turn_work *work)
{
	struct brake *brake = (struct brake *)work;

	if (brake->listener)
		torc_op_cancel(&brake->listener->op);
	else
		free(brake);
}

static void free_accepted(struct torc_listener *l)
{
	if (l->accepted)
		free((char *)l->accepted - offsetof(struct accepted, fds));
	l->accepted = NULL;
}

static int *alloc_accepted(struct torc_listener *l, unsigned capacity)
{
	struct accepted *a = malloc(sizeof(*a) + capacity * sizeof(a->fds[0]));

	if (!a)
		return NULL;
	a->brake = l->accepted ? brake_of(l) : calloc(1, sizeof(*a->brake));
	if (!a->brake) {
		free(a);
		return NULL;
	}
	a->brake->work.run = run_brake;
	a->brake->listener = l;
	return a->fds;
}

static bool grow_accepted(struct torc_listener *l)
{
	unsigned capacity = l->accepted_capacity ? l->accepted_capacity * 2 : 128;
	int *accepted;

	if (l->accepted_count < l->accepted_capacity)
		return true;
	accepted = alloc_accepted(l, capacity);
	if (!accepted)
		return false;
	for (unsigned i = 0; i < l->accepted_count; i++)
		accepted[i] = l->accepted[(l->accepted_head + i) % l->accepted_capacity];
	free_accepted(l);
	l->accepted = accepted;
	l->accepted_head = 0;
	l->accepted_capacity = capacity;
	return true;
}

static void release_accepted(struct torc_listener *l)
{
	struct brake *brake;

	if (!l->accepted)
		return;
	brake = brake_of(l);
	brake->listener = NULL;
	if (!brake->work.queued) /* or it frees itself */
		free(brake);
	free_accepted(l);
}

static void wake(struct torc_listener *l)
{
	struct torc__wait *wait = l->waiter;

	l->waiter = NULL;
	if (wait)
		torc__ready(wait->fiber);
}

static void on_accept(struct torc_op *op, int res, unsigned cqe_flags)
{
	struct torc_listener *l = of_op(op);

	if (res >= 0 && !grow_accepted(l))
		close(res); /* no memory to remember it by */
	else if (res >= 0)
		l->accepted[(l->accepted_head + l->accepted_count++) % l->accepted_capacity] = res;
	else if (res != -ECANCELED)
		l->error = res;
	if (l->accepted_count >= ACCEPTED_HIGH && cqe_flags & IORING_CQE_F_MORE)
		torc__turn_defer(torc__loop(), &brake_of(l)->work);
	wake(l);
}

static void arm(struct torc_listener *l)
{
	struct io_uring_sqe *sqe = torc_op_start(&l->op, on_accept);

	io_uring_prep_multishot_accept(sqe, l->fd, NULL, NULL, SOCK_CLOEXEC);
}

static void cancel_wait(struct torc__wait *wait);

static const struct torc__wait_kind accept_kind = { "accept", cancel_wait };
static const struct torc__wait_kind close_kind = { "listener close", NULL };

struct accept_wait {
	struct torc__wait wait; /* first */
	struct torc_listener *listener;
	int status;
};

static void cancel_wait(struct torc__wait *wait)
{
	struct accept_wait *w = (struct accept_wait *)wait;

	w->listener->waiter = NULL;
	w->status = wait->fiber->scope->status;
	torc__ready(wait->fiber);
}

static int wait_for_op(struct torc_listener *l, const struct torc__wait_kind *kind)
{
	struct accept_wait wait = { .listener = l };

	torc__check(!l->waiter, "two fibers accept from one listener");
	l->waiter = &wait.wait;
	torc__park(torc__self(), &wait.wait, kind);
	return wait.status;
}

static int take(struct torc_listener *l)
{
	int fd = l->accepted[l->accepted_head];

	l->accepted_head = (l->accepted_head + 1) % l->accepted_capacity;
	l->accepted_count--;
	return fd;
}

/* Errors that belong to one connection that went away, or that pass: accept(2), "Error handling". */
static int after_error(struct torc_listener *l)
{
	int error = l->error;

	l->error = 0;
	switch (error) {
	case -EMFILE:
	case -ENFILE:
	case -ENOBUFS:
	case -ENOMEM: return torc_sleep(STARVED_NS);
	case -EBADF:
	case -EINVAL:
	case -ENOTSOCK:
	case -EOPNOTSUPP: return error;
	default: return 0;
	}
}

int torc_accept(struct torc_listener *l)
{
	for (;;) {
		int r = torc__scope_check(torc__self());

		if (r < 0)
			return r;
		if (l->accepted_count)
			return take(l);
		r = l->error ? after_error(l) : 0;
		if (r < 0)
			return r;
		if (!torc_op_pending(&l->op))
			arm(l);
		r = wait_for_op(l, &accept_kind);
		if (r < 0)
			return r;
	}
}

void torc_listener_close(struct torc_listener *l)
{
	torc_op_cancel(&l->op);
	while (torc_op_pending(&l->op))
		wait_for_op(l, &close_kind);
	while (l->accepted_count)
		torc_close(take(l));
	release_accepted(l);
	if (l->shared)
		return;
	close(l->fd); /* not torc_close: the address is free for the next torc_listen when this returns */
	if (!strncmp(l->address, "unix:", 5))
		unlink(l->address + 5);
}
