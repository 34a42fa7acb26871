/*
 * io/internal/sockopt.h - options of sockets.
 */
#ifndef TORC_IO_INTERNAL_SOCKOPT_H
#define TORC_IO_INTERNAL_SOCKOPT_H

#include <torc/io/socket.h>

int torc__set_int(int fd, int level, int name, int value);

/* SO_BINDTODEVICE. -EINVAL: no name of an interface; -ENODEV: there is none of that name. */
int torc__set_device(int fd, const char *name);

static inline bool torc__keepalive_is_set(const struct torc_keepalive *k)
{
	return k->idle_s || k->interval_s || k->count;
}

#endif
