#include "io/internal/handover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <torc/core/sys.h>
#include <torc/core/timeout.h>
#include <torc/io/socket.h>
#include <torc/io/unix.h>

#include "core/internal/fiber.h"
#include "core/internal/system.h"

#define HELLO  "torc handover 1"
#define LISTEN "listen "
#define END    "end"
#define READY  "ready"

/* The longest record: an address may be a name of up to 255 bytes. */
#define RECORD_BYTES 512

#define SOCKETS_MAX 65536u

/* For each answer of the other process; starting to listen is between two of them. */
#define ANSWER_NS TORC_SECONDS(10)

/* The old process of a moment ago may have been replaced itself. */
#define TRIES 8

static int send_record(int fd, const char *text)
{
	int r = torc_send(fd, text, strlen(text), 0);

	return r < 0 ? r : 0;
}

/* As a string; with at most one descriptor, or *ret_fd is -1. */
static int recv_record(int fd, char text[RECORD_BYTES], int *ret_fd)
{
	unsigned count = 0;
	int r = -ETIMEDOUT;

	*ret_fd = -1;
	torc_within(ANSWER_NS) r = torc_recv_fds(fd, text, RECORD_BYTES - 1, ret_fd, 1, &count);
	if (r < 0)
		return r;
	text[r] = '\0';
	return r ? 0 : -ECONNRESET;
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

/* One record. Returns 1 at the end. */
static int take_record(struct torc__handover *h)
{
	char text[RECORD_BYTES];
	int fd, r = recv_record(h->peer, text, &fd);

	if (r < 0)
		return r;
	if (fd < 0)
		return strcmp(text, END) ? -EPROTO : 1;
	r = strncmp(text, LISTEN, strlen(LISTEN)) ? -EPROTO : add(h, text + strlen(LISTEN), fd);
	if (r < 0)
		torc_sys_close(fd);
	return r;
}

static int ask(const char *path, struct torc__handover *h)
{
	char address[TORC_ADDRESS_MAX];
	int r = -ENAMETOOLONG;

	if ((size_t)snprintf(address, sizeof(address), "unixpacket:%s", path) < sizeof(address))
		r = torc_dial(address);
	if (r == -ENOENT || r == -ECONNREFUSED)
		return 0;
	if (r < 0)
		return r == -EPROTOTYPE ? -EPROTO : r;
	h->peer = r;
	r = check_peer(h->peer);
	if (!r)
		r = send_record(h->peer, HELLO);
	while (!r)
		r = take_record(h);
	return r < 0 ? r : 0;
}

int torc__handover_request(const char *path, struct torc__handover *h)
{
	int r = -EAGAIN;

	*h = (struct torc__handover){ .peer = -1 };
	for (int i = 0; i < TRIES; i++) {
		r = ask(path, h);
		/* It went while it was asked: somebody else has taken over, or nobody is there any more. */
		if (r != -ECONNRESET && r != -EPIPE)
			return r;
		torc__handover_done(h);
	}
	return r;
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

/* Under another name first: at no time is nobody at the path. */
int torc__handover_replace(struct torc__handover *h, const char *path, struct torc_listener *l)
{
	char address[TORC_ADDRESS_MAX];
	const char *temporary;
	int r;

	if ((size_t)snprintf(address, sizeof(address), "unixpacket:%s.%d", path, (int)getpid()) >=
	    sizeof(address))
		return -ENAMETOOLONG;
	temporary = strchr(address, ':') + 1;
	r = torc_listen(l, address, &(struct torc_listen_options){ .mode = 0600 });
	if (r < 0)
		return r;
	if (h->peer >= 0)
		r = send_record(h->peer, READY);
	if (!r)
		r = torc_sys_rename(temporary, path);
	if (r < 0)
		torc_listener_close(l);
	else
		snprintf(l->address, sizeof(l->address), "unixpacket:%s", path);
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

static int expect(int fd, const char *wanted)
{
	char text[RECORD_BYTES];
	int extra, r = recv_record(fd, text, &extra);

	if (extra >= 0)
		torc_sys_close(extra);
	return r < 0 ? r : strcmp(text, wanted) ? -EPROTO : 0;
}

static int offer_to(int fd, const struct torc__socket *sockets, size_t count)
{
	int r = check_peer(fd);

	if (!r)
		r = expect(fd, HELLO);
	if (r < 0)
		return r;
	torc_within(ANSWER_NS) r = send_sockets(fd, sockets, count);
	return r < 0 ? r : expect(fd, READY);
}

int torc__handover_offer(struct torc_listener *l, const struct torc__socket *sockets, size_t count)
{
	for (;;) {
		int r, fd = torc_accept(l);

		if (fd < 0)
			return fd;
		r = offer_to(fd, sockets, count);
		torc_close(fd);
		if (!r)
			return 1;
		r = torc__scope_check(torc__self());
		if (r < 0)
			return r;
	}
}
