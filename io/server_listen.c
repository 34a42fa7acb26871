/*
 * io/server_listen.c - the listeners of all stations.
 */
#include "io/internal/server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <torc/core/run.h>
#include <torc/core/sys.h>

#include "core/internal/system.h"
#include "io/internal/activation.h"
#include "io/internal/dial.h"
#include "io/internal/listener.h"

/* Can there be only one socket for it, which all loops share? */
static bool is_single(const char *address)
{
	return !strncmp(address, "unix", 4) || torc__is_inherited(address);
}

/* SO_REUSEPORT would let two servers share a port without either knowing. */
static int probe(const char *address)
{
	struct torc_listener l;
	int r = torc_listen(&l, address, NULL);

	if (r < 0)
		return r;
	torc_sys_close(l.fd);
	return 0;
}

static int listen_first(const struct torc__server *sv, struct torc_listener *l, const char *address)
{
	bool several = torc_loop_count() > 1 && !is_single(address);
	struct torc_listen_options o = { .reuse_port = several,
					 .unsent_bytes = sv->options->unsent_bytes };
	int r = several ? probe(address) : 0;

	return r < 0 ? r : torc_listen(l, address, &o);
}

/* Listen where loop 0 does: on a socket of our own with the same port, or on the same one. */
static int listen_too(const struct torc__server *sv, struct torc__seat *seat,
		      struct torc__seat *first)
{
	const struct torc_listener *other = &first->listener;
	struct torc_listen_options o = { .reuse_port = true,
					 .unsent_bytes = sv->options->unsent_bytes };
	int fd;

	if (!is_single(other->address) && !other->inherited && !first->taken)
		return torc_listen(&seat->listener, other->address, &o);
	fd = torc_sys_dup(other->fd);
	if (fd < 0)
		return fd;
	torc__listener_adopt(&seat->listener, fd);
	seat->listener.shared = true;
	seat->common = first->common = true;
	return 0;
}

/* A socket of the process before: ours now, as if we had opened it, or been started with it. */
static void take_over(struct torc__seat *seat, const char *address, int fd)
{
	torc__listener_adopt(&seat->listener, fd);
	seat->listener.inherited = torc__is_inherited(address);
	seat->taken = true;
}

static struct torc__seat *first_seat(const struct torc__server *sv, size_t address)
{
	struct torc__seat *seat = sv->stations->seats;

	while (seat->address != address)
		seat++;
	return seat;
}

static int take_seat(struct torc__server *sv, struct torc__station *st, size_t address, int fd)
{
	const char *text = sv->options->addresses[address], *plain = torc__behind_tls(text);
	struct torc__seat *seat = &st->seats[st->open];
	int r = 0;

	seat->address = address;
	seat->encrypted = plain != NULL;
	if (seat->encrypted && !sv->options->tls)
		r = -EINVAL;
	else if (fd >= 0)
		take_over(seat, text, fd);
	else if (st == sv->stations)
		r = listen_first(sv, &seat->listener, plain ? plain : text);
	else
		r = listen_too(sv, seat, first_seat(sv, address));
	if (r < 0 && sv->options->on_error)
		sv->options->on_error(text, r, sv->options->arg);
	if (!r)
		st->open++;
	return r;
}

int torc__seats_open(struct torc__server *sv, struct torc__station *st)
{
	int r = 0;

	for (size_t i = 0; i < sv->address_count && !r; i++)
		r = take_seat(sv, st, i,
			      torc__handover_take(&sv->handover, sv->options->addresses[i]));
	return r;
}

int torc__seats_take_rest(struct torc__server *sv)
{
	size_t loops = (size_t)torc_loop_count(), next = 0;
	int r = 0;

	for (size_t i = 0; i < sv->address_count && !r; i++) {
		int fd;

		while (!r &&
		       (fd = torc__handover_take(&sv->handover, sv->options->addresses[i])) >= 0)
			r = take_seat(sv, &sv->stations[next++ % loops], i, fd);
	}
	return r;
}

int torc__seats_list(struct torc__server *sv)
{
	size_t most = 0;

	for (int i = 0; i < torc_loop_count(); i++)
		most += sv->stations[i].open;
	sv->sockets = torc__malloc((most + 1) * sizeof(*sv->sockets));
	if (!sv->sockets)
		return -ENOMEM;
	for (int i = 0; i < torc_loop_count(); i++) {
		for (size_t k = 0; k < sv->stations[i].open; k++) {
			const struct torc__seat *seat = &sv->stations[i].seats[k];

			if (!seat->listener.shared)
				sv->sockets[sv->socket_count++] = (struct torc__socket){
					(char *)(uintptr_t)sv->options->addresses[seat->address],
					seat->listener.fd,
				};
		}
	}
	return 0;
}

void torc__server_tell_error(const struct torc__server *sv, int error)
{
	const struct torc_serve_options *o = sv->options;

	if (error < 0 && !torc_scope_status() && o->on_error)
		o->on_error(o->handover, error, o->arg);
}

/* The listener knows nothing of encryption. */
static void tell_address(const struct torc__server *sv, const struct torc__seat *seat)
{
	const char *address = seat->listener.address, *rest = strstr(address, "://");
	char text[TORC_ADDRESS_MAX + sizeof(TORC__TLS_SCHEME)];

	snprintf(text, sizeof(text), "%s%s", TORC__TLS_SCHEME, rest ? rest + 3 : address);
	sv->options->on_listen(seat->encrypted ? text : address, sv->options->arg);
}

void torc__server_tell_addresses(const struct torc__server *sv)
{
	const struct torc_serve_options *o = sv->options;

	for (size_t i = 0; o->on_listen && i < sv->address_count; i++)
		tell_address(sv, first_seat(sv, i));
}

void torc__seats_close(struct torc__station *st)
{
	while (st->open) {
		struct torc_listener *l = &st->seats[--st->open].listener;

		/* The file belongs to whoever has the socket. */
		l->inherited |= __atomic_load_n(&st->server->given, __ATOMIC_ACQUIRE);
		torc_listener_close(l);
		if (l->shared)
			torc_sys_close(l->fd); /* the duplicate of listen_too */
	}
}
