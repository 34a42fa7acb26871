/*
 * http/internal/load.h - how much a server takes on at once: connections beyond the limit are told so, and requests
 * wait in a short line for a handler.
 *
 * Each loop counts its own: nothing is shared.
 */
#ifndef TORC_HTTP_INTERNAL_LOAD_H
#define TORC_HTTP_INTERNAL_LOAD_H

#include <torc/core/sync.h>
#include <torc/http/server.h>

struct torc__http_config;
struct torc__http_connection;

/* A loop's. */
struct torc__http_load {
	_Alignas(64) size_t connections; /* that are served, besides those that are turned away */
	struct torc_sem handlers;        /* how many more may run */
	unsigned queued;
};

/* One for each loop: 0, or -ENOMEM. */
int torc__http_loads_init(struct torc__http_config *config);
void torc__http_loads_done(struct torc__http_config *config);

/* How many connections the server below is to have: those that are turned away need places too. */
size_t torc__http_connections_max(const struct torc_http_options *o);

/* A connection begins: false if it is to be turned away. Each that was let in leaves. */
bool torc__http_connection_enter(struct torc__http_connection *c);
void torc__http_connection_leave(struct torc__http_connection *c);

/*
 * Wait for a handler. 0: one is taken, to be left; -EBUSY: not in time, and the client is to be told; or the scope's status.
 */
int torc__http_handler_enter(const struct torc_http_options *o, struct torc__http_load *load);
void torc__http_handler_leave(const struct torc_http_options *o, struct torc__http_load *load);

#endif
