/*
 * io/internal/sockopt.h - options of sockets, and what is in the way of binding them.
 */
#ifndef TORC_IO_INTERNAL_SOCKOPT_H
#define TORC_IO_INTERNAL_SOCKOPT_H

#include <torc/io/address.h>
#include <torc/io/socket.h>

int torc__set_int(int fd, int level, int name, int value);

/* SO_BINDTODEVICE. -EINVAL: no name of an interface; -ENODEV: there is none of that name. */
int torc__set_device(int fd, const char *name);

/*
 * The file of a Unix socket that is nobody's any more is in the way of bind(2): remove it. Returns 0, whatever is there, or
 * -EMFILE, -ENFILE or -ENOMEM: without a descriptor nobody can tell.
 */
int torc__remove_stale(const struct torc_address *address);

static inline bool torc__keepalive_is_set(const struct torc_keepalive *k)
{
	return k->idle_s || k->interval_s || k->count;
}

#endif
