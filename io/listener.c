#include <torc/io/listener.h>

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include <torc/core/fiber.h>
#include <torc/core/sys.h>
#include <torc/io/socket.h>

#include "core/internal/fiber.h"
#include "core/internal/system.h"
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
	if (torc_sys_probe(&a->un, a->len) == -ECONNREFUSED)
		torc_sys_unlink(a->un.sun_path);
}

static int set_options(int fd, int family, const struct torc_listen_options *o)
{
	const int one = 1, zero = 0;
	int r;

	if (family == AF_UNIX)
		return 0;
	r = torc_sys_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (!r && o->reuse_port)
		r = torc_sys_setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	if (!r && family == AF_INET6)
		r = torc_sys_setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	/* Connections inherit it: answers go out at once, one send per turn gathers them already. */
	if (!r)
		r = torc_sys_setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return r;
}

static int bind_and_listen(int fd, const struct torc__address *a,
			   const struct torc_listen_options *o)
{
	int r = set_options(fd, a->any.sa_family, o);

	if (!r)
		r = torc_sys_bind(fd, &a->any, a->len);
	return r ? r : torc_sys_listen(fd, o->backlog ? o->backlog : BACKLOG);
}

static int open_socket(const struct torc__address *a, const struct torc_listen_options *o)
{
	int r, fd = torc_sys_socket(a->any.sa_family, SOCK_STREAM, 0);

	if (fd < 0)
		return fd;
	if (a->any.sa_family == AF_UNIX)
		remove_stale(a);
	r = bind_and_listen(fd, a, o);
	if (r < 0) {
		torc_sys_close(fd);
		return r;
	}
	return fd;
}

static void read_address(struct torc_listener *l)
{
	struct torc__address bound;

	memset(&bound, 0, sizeof(bound));
	bound.len = sizeof(bound.un);
	if (torc_sys_getsockname(l->fd, &bound.any, &bound.len) == 0)
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
	return torc__container_of(op, struct torc_listener, op);
}

/*
 * Stops the accepting at the end of a turn: in on_accept no operation may be started, and a fiber that does
 * not come back to torc_accept would not stop it.
 */
static void run_brake(struct torc__turn_work *work)
{
	struct torc_listener *l = torc__container_of(work, struct torc_listener, brake);

	torc_op_cancel(&l->op);
	if (l->closing)
		torc__slot_wake(&l->waiter); /* which waits for this very run */
}

static bool grow_accepted(struct torc_listener *l)
{
	unsigned capacity = l->accepted_capacity ? l->accepted_capacity * 2 : 128;
	int *accepted;

	if (l->accepted_count < l->accepted_capacity)
		return true;
	accepted = torc__malloc(capacity * sizeof(*accepted));
	if (!accepted)
		return false;
	for (unsigned i = 0; i < l->accepted_count; i++)
		accepted[i] = l->accepted[(l->accepted_head + i) % l->accepted_capacity];
	torc__free(l->accepted);
	l->accepted = accepted;
	l->accepted_head = 0;
	l->accepted_capacity = capacity;
	return true;
}

static void on_accept(struct torc_op *op, int res, unsigned cqe_flags)
{
	struct torc_listener *l = of_op(op);

	if (res >= 0 && !grow_accepted(l))
		torc_sys_close(res); /* no memory to remember it by */
	else if (res >= 0)
		l->accepted[(l->accepted_head + l->accepted_count++) % l->accepted_capacity] = res;
	else if (res != -ECANCELED)
		l->error = res;
	if (l->accepted_count >= ACCEPTED_HIGH && cqe_flags & IORING_CQE_F_MORE)
		torc__turn_defer(torc__loop(), &l->brake);
	torc__slot_wake(&l->waiter);
}

static void arm(struct torc_listener *l)
{
	struct io_uring_sqe *sqe = torc_op_start(&l->op, on_accept);

	l->brake.run = run_brake;
	io_uring_prep_multishot_accept(sqe, l->fd, NULL, NULL, SOCK_CLOEXEC);
}

static void describe(const struct torc__wait *wait, struct torc__message *m)
{
	const struct torc_listener *l =
		torc__container_of(torc__slot_of(wait), struct torc_listener, waiter);

	torc__message_text(m, " on ");
	torc__message_text(m, l->address);
	torc__message_text(m, ", fd ");
	torc__message_number(m, (unsigned)l->fd, 10);
}

static const struct torc__wait_kind accept_kind = { "accept", torc__slot_cancel, describe };
static const struct torc__wait_kind close_kind = { "listener close", NULL, describe };

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
		r = torc__slot_wait(&l->waiter, &accept_kind);
		if (r < 0)
			return r;
	}
}

void torc_listener_close(struct torc_listener *l)
{
	l->closing = true;
	torc_op_cancel(&l->op);
	while (torc_op_pending(&l->op) || l->brake.queued)
		torc__slot_wait(&l->waiter, &close_kind);
	while (l->accepted_count)
		torc_close(take(l));
	torc__free(l->accepted);
	l->accepted = NULL;
	if (l->shared)
		return;
	torc_sys_close(
		l->fd); /* not torc_close: the address is free for the next torc_listen when this returns */
	if (!strncmp(l->address, "unix:", 5))
		torc_sys_unlink(l->address + 5);
}
