#include <torc/io/listener.h>

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <torc/core/fiber.h>
#include <torc/core/sys.h>
#include <torc/io/socket.h>

#include "core/internal/fiber.h"
#include "core/internal/system.h"
#include "io/internal/activation.h"
#include "io/internal/call.h"
#include "io/internal/listener.h"
#include "io/internal/sockopt.h"

#define BACKLOG 4096

/* Accepted connections nobody has taken: from here on the rest stays in the kernel's queue. */
#define ACCEPTED_HIGH 64

/* How long to wait for descriptors or memory when they have run out. */
#define STARVED_NS TORC_MS(50)

/* --- listening --- */

/* Connections inherit them. Answers go out at once: one send per turn gathers them already. */
static int set_tcp_options(int fd, const struct torc_listen_options *o)
{
	int r = torc_set_nodelay(fd, !o->delay);

	if (!r && torc__keepalive_is_set(&o->keepalive))
		r = torc_set_keepalive(fd, &o->keepalive);
	if (!r && o->user_timeout_ms)
		r = torc_set_user_timeout(fd, o->user_timeout_ms);
	if (!r && o->unsent_bytes)
		r = torc__set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, o->unsent_bytes);
	if (!r && o->defer_accept_s)
		r = torc__set_int(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, (int)o->defer_accept_s);
	if (!r && o->fast_open)
		r = torc__set_int(fd, IPPROTO_TCP, TCP_FASTOPEN, o->fast_open);
	return r;
}

static int set_ip_options(int fd, int family, const struct torc_listen_options *o)
{
	int r = torc__set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);

	if (!r && o->reuse_port)
		r = torc__set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (!r && family == AF_INET6)
		r = torc__set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, o->v6_only);
	if (!r && o->free_bind)
		r = torc__set_int(fd, IPPROTO_IP, IP_FREEBIND, 1);
	if (!r && o->device)
		r = torc__set_device(fd, o->device);
	return r ? r : set_tcp_options(fd, o);
}

/* A socket's file gets what the socket has: without a moment in which it has more. */
static int set_mode(int fd, unsigned mode)
{
	if (mode > 0777)
		return -EINVAL;
	if (!mode || !torc__on_linux())
		return 0;
	return fchmod(fd, mode) < 0 ? -errno : 0;
}

static int set_options(int fd, const struct torc_address *a, const struct torc_listen_options *o)
{
	int r = torc_set_buffers(fd, o->recv_bytes, o->send_bytes);

	if (r < 0)
		return r;
	return a->any.sa_family == AF_UNIX ? set_mode(fd, o->mode)
					   : set_ip_options(fd, a->any.sa_family, o);
}

static int bind_and_listen(int fd, const struct torc_address *a,
			   const struct torc_listen_options *o)
{
	int r = set_options(fd, a, o);

	if (!r)
		r = torc_sys_bind(fd, &a->any, a->len);
	return r ? r : torc_sys_listen(fd, o->backlog ? o->backlog : BACKLOG);
}

static int open_socket(const struct torc_address *a, const struct torc_listen_options *o)
{
	int r = 0, fd;

	if (a->type == SOCK_DGRAM)
		return -EINVAL;
	fd = torc_sys_socket(a->any.sa_family, a->type ? a->type : SOCK_STREAM, 0);
	if (fd < 0)
		return fd;
	if (a->any.sa_family == AF_UNIX && a->un.sun_path[0])
		r = torc__remove_stale(a);
	if (!r)
		r = bind_and_listen(fd, a, o);
	if (r < 0) {
		torc_sys_close(fd);
		return r;
	}
	return fd;
}

static void read_address(struct torc_listener *l)
{
	struct torc_address bound;

	if (torc_local_address(l->fd, &bound) == 0)
		torc_address_format(&bound, l->address, sizeof(l->address));
}

void torc__listener_adopt(struct torc_listener *l, int fd)
{
	memset(l, 0, sizeof(*l));
	l->fd = fd;
	read_address(l);
}

/* A socket of somebody else's, or a new one. */
static int find_socket(struct torc_listener *l, const char *text,
		       const struct torc_listen_options *o)
{
	struct torc_address address;
	int r;

	l->shared = o->share_fd > 0;
	if (l->shared)
		return o->share_fd;
	l->inherited = torc__is_inherited(text);
	if (l->inherited)
		return torc__inherited_listener(text);
	r = torc_address_parse(text, TORC_ADDRESS_WILDCARD, &address);
	return r < 0 ? r : open_socket(&address, o);
}

int torc_listen(struct torc_listener *l, const char *text,
		const struct torc_listen_options *options)
{
	static const struct torc_listen_options defaults;
	int r;

	memset(l, 0, sizeof(*l));
	r = find_socket(l, text, options ? options : &defaults);
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

void torc__listener_remove_file(const char *address)
{
	const char *path = strchr(address, ':');

	if (!strncmp(address, "unix", 4) && path && path[1] != '@')
		torc_sys_unlink(path + 1);
}

static void stop(struct torc_listener *l)
{
	l->closing = true;
	torc_op_cancel(&l->op);
	while (torc_op_pending(&l->op) || l->brake.queued)
		torc__slot_wait(&l->waiter, &close_kind);
}

int torc__listener_stop(struct torc_listener *l)
{
	stop(l);
	return l->accepted_count ? take(l) : -EAGAIN;
}

static bool has_waiting(const struct torc_listener *l)
{
	struct pollfd p = { .fd = l->fd, .events = POLLIN };

	return torc__on_linux() && poll(&p, 1, 0) == 1;
}

int torc__listener_last(struct torc_listener *l)
{
	while (!l->accepted_count && has_waiting(l)) {
		io_uring_prep_accept(torc_op_start(&l->op, on_accept), l->fd, NULL, NULL,
				     SOCK_CLOEXEC);
		stop(l); /* it has been tried at least once then */
	}
	return l->accepted_count ? take(l) : -EAGAIN;
}

void torc_listener_close(struct torc_listener *l)
{
	stop(l);
	while (l->accepted_count)
		torc_close(take(l));
	torc__free(l->accepted);
	l->accepted = NULL;
	if (l->shared)
		return;
	torc_sys_close(
		l->fd); /* not torc_close: the address is free for the next torc_listen when this returns */
	if (!l->inherited)
		torc__listener_remove_file(l->address);
}
