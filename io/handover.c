#include "io/internal/handover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <torc/core/scope.h>
#include <torc/core/sys.h>
#include <torc/core/timeout.h>
#include <torc/io/socket.h>
#include <torc/io/unix.h>

#include "core/internal/fiber.h"
#include "core/internal/system.h"
#include "io/internal/call.h"
#include "io/internal/listener.h"

#define HELLO  "torc handover 1"
#define LISTEN "listen "
#define END    "end"
#define READY  "ready"
#define BYE    "bye"

/* The longest record: an address may be a name of up to 255 bytes. */
#define RECORD_BYTES 512

#define SOCKETS_MAX 65536u

/* For each answer of the other process; starting to listen is between two of them. */
#define ANSWER_NS TORC_SECONDS(10)

/* It is said at once. Somebody silent must not keep the next process waiting. */
#define HELLO_NS TORC_SECONDS(1)

/* The old process of a moment ago may have been replaced itself. */
#define TRIES 8

static int send_record(int fd, const char *text)
{
	int r = torc_send(fd, text, strlen(text), 0);

	return r < 0 ? r : 0;
}

/* As a string; with at most one descriptor, or *ret_fd is -1. -EAGAIN: nothing comes. */
static int recv_record(int fd, uint64_t ns, char text[RECORD_BYTES], int *ret_fd)
{
	unsigned count = 0;
	int r = -ETIMEDOUT;

	*ret_fd = -1;
	torc_within(ns) r = torc_recv_fds(fd, text, RECORD_BYTES - 1, ret_fd, 1, &count);
	if (r == -ETIMEDOUT && !torc_scope_status())
		return -EAGAIN;
	if (r < 0)
		return r;
	text[r] = '\0';
	return r ? 0 : -ECONNRESET;
}

/* A record without a descriptor. */
static int expect(int fd, uint64_t ns, const char *wanted)
{
	char text[RECORD_BYTES];
	int extra, r = recv_record(fd, ns, text, &extra);

	if (extra >= 0)
		torc_sys_close(extra);
	return r < 0 ? r : strcmp(text, wanted) ? -EPROTO : 0;
}

/* Only processes of the same user, or root's, are listened to. */
static int check_peer(int fd)
{
	struct torc_credentials peer;
	int r = torc_peer_credentials(fd, &peer);

	if (r < 0)
		return r;
	return peer.uid == geteuid() || peer.uid == 0 ? 0 : -EPERM;
}

/* --- the new process --- */

static int add(struct torc__handover *h, const char *address, int fd)
{
	struct torc__socket *grown;
	char *copy;

	if (h->count >= SOCKETS_MAX)
		return -EPROTO;
	grown = torc__realloc(h->sockets, (h->count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	h->sockets = grown;
	copy = torc__malloc(strlen(address) + 1);
	if (!copy)
		return -ENOMEM;
	strcpy(copy, address);
	h->sockets[h->count++] = (struct torc__socket){ copy, fd };
	return 0;
}

static bool is_listening(int fd)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return torc_sys_getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len) == 0 && value;
}

/* One record. Returns 1 at the end. */
static int take_record(struct torc__handover *h)
{
	char text[RECORD_BYTES];
	int fd, r = recv_record(h->peer, ANSWER_NS, text, &fd);

	if (r < 0)
		return r;
	if (fd < 0)
		return strcmp(text, END) ? -EPROTO : 1;
	r = strncmp(text, LISTEN, strlen(LISTEN)) || !is_listening(fd)
		    ? -EPROTO
		    : add(h, text + strlen(LISTEN), fd);
	if (r < 0)
		torc_sys_close(fd);
	return r;
}

/* A rename would replace any file. */
static int check_path(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if (!*path || *path == '@')
		return -EINVAL;
	if ((size_t)snprintf(a.sun_path, sizeof(a.sun_path), "%s", path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	return torc_sys_probe(&a, sizeof(a)) == -ENOTSOCK ? -ENOTSOCK : 0;
}

static int dial(const char *path)
{
	char address[TORC_ADDRESS_MAX];
	int r = check_path(path);

	if (r < 0)
		return r;
	snprintf(address, sizeof(address), "unixpacket:%s", path);
	r = torc_dial(address);
	return r == -EPROTOTYPE ? -EPROTO : r;
}

static int ask(const char *path, struct torc__handover *h)
{
	int r = dial(path);

	if (r == -ENOENT || r == -ECONNREFUSED)
		return 0;
	if (r < 0)
		return r;
	h->peer = r;
	r = check_peer(h->peer);
	if (!r)
		r = send_record(h->peer, HELLO);
	while (!r)
		r = take_record(h);
	return r < 0 ? r : 0;
}

static bool has_gone(int r)
{
	return r == -ECONNRESET || r == -EPIPE;
}

int torc__handover_request(const char *path, struct torc__handover *h)
{
	*h = (struct torc__handover){ .peer = -1 };
	if (!torc__on_linux())
		return -ENOSYS;
	for (int i = 0; i < TRIES; i++) {
		int r = ask(path, h);

		/* It went while it was asked: somebody else has taken over, or nobody is there any more. */
		if (!has_gone(r))
			return r;
		torc__handover_done(h);
	}
	return -EAGAIN;
}

int torc__handover_take(struct torc__handover *h, const char *address)
{
	for (size_t i = 0; i < h->count; i++) {
		int fd = h->sockets[i].fd;

		if (fd < 0 || strcmp(h->sockets[i].address, address) != 0)
			continue;
		h->sockets[i].fd = -1;
		return fd;
	}
	return -1;
}

/* 0: this process is to serve. */
static int announce(struct torc__handover *h, const char *path)
{
	struct torc__handover other;
	int r;

	if (h->peer < 0)
		return 0;
	r = send_record(h->peer, READY);
	if (!r)
		r = expect(h->peer, ANSWER_NS, BYE);
	if (!has_gone(r))
		return r;
	r = torc__handover_request(path, &other);
	if (!r && other.peer >= 0)
		r = -EAGAIN;
	torc__handover_done(&other);
	return r;
}

/* What nobody listens on any more. */
static void remove_files(const struct torc__handover *h)
{
	for (size_t i = 0; i < h->count; i++)
		if (h->sockets[i].fd >= 0)
			torc__listener_remove_file(h->sockets[i].address);
}

/* Under another name first: at no time is nobody at the path. */
int torc__handover_replace(struct torc__handover *h, const char *path, struct torc_listener *l,
			   int *ret_unnamed)
{
	char address[TORC_ADDRESS_MAX];
	const char *temporary;
	int r;

	snprintf(address, sizeof(address), "unixpacket:%s.%d", path, (int)getpid());
	temporary = strchr(address, ':') + 1;
	r = torc_listen(l, address, &(struct torc_listen_options){ .mode = 0600 });
	if (r == -EINVAL)
		r = -ENAMETOOLONG; /* with the number */
	if (!r) {
		r = announce(h, path);
		if (r < 0)
			torc_listener_close(l);
	}
	if (!r) {
		remove_files(h);
		*ret_unnamed = torc_sys_rename(temporary, path);
		if (!*ret_unnamed)
			snprintf(l->address, sizeof(l->address), "unixpacket:%s", path);
	}
	torc__handover_done(h);
	return r;
}

void torc__handover_done(struct torc__handover *h)
{
	for (size_t i = 0; i < h->count; i++) {
		if (h->sockets[i].fd >= 0)
			torc_sys_close(h->sockets[i].fd);
		torc__free(h->sockets[i].address);
	}
	torc__free(h->sockets);
	if (h->peer >= 0)
		torc_close(h->peer);
	*h = (struct torc__handover){ .peer = -1 };
}

/* --- the old one --- */

static int send_sockets(int fd, const struct torc__socket *sockets, size_t count)
{
	char text[RECORD_BYTES];
	int r = 0;

	for (size_t i = 0; i < count && r >= 0; i++) {
		int len = snprintf(text, sizeof(text), LISTEN "%s", sockets[i].address);

		r = torc_send_fds(fd, text, (size_t)len, &sockets[i].fd, 1);
	}
	return r < 0 ? r : send_record(fd, END);
}

static int offer_to(int fd, const struct torc__socket *sockets, size_t count, bool *given)
{
	int r = check_peer(fd);

	if (!r)
		r = expect(fd, HELLO_NS, HELLO);
	if (r < 0)
		return r;
	__atomic_store_n(given, true, __ATOMIC_RELEASE);
	r = -ETIMEDOUT;
	torc_within(ANSWER_NS) r = send_sockets(fd, sockets, count);
	if (!r)
		r = expect(fd, ANSWER_NS, READY);
	if (!r)
		r = send_record(fd, BYE); /* fails when it has given up waiting for us */
	/* When it is this process that is stopped, the other one has what it takes to serve. */
	if (r < 0 && !torc_scope_status())
		__atomic_store_n(given, false, __ATOMIC_RELEASE);
	return r;
}

int torc__handover_offer(struct torc_listener *l, const struct torc__socket *sockets, size_t count,
			 bool *given, int *ret_fd)
{
	for (;;) {
		int r, fd = torc_accept(l);

		if (fd < 0)
			return fd;
		r = offer_to(fd, sockets, count, given);
		if (!r) {
			*ret_fd = fd;
			return 0;
		}
		torc_close(fd);
		r = torc_scope_status();
		if (r < 0)
			return r;
	}
}

void torc__handover_goodbye(int fd)
{
	struct torc_scope shield;
	char byte;

	torc_scope_enter_shield(&shield, ANSWER_NS);
	while (torc_recv(fd, &byte, 1, 0) > 0)
		; /* nothing more is to be said */
	torc_scope_leave(&shield);
	torc_close(fd);
}
