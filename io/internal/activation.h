/*
 * io/internal/activation.h - sockets of others as addresses.
 */
#ifndef TORC_IO_INTERNAL_ACTIVATION_H
#define TORC_IO_INTERNAL_ACTIVATION_H

#include <stdbool.h>
#include <string.h>

/* "fd:N" or "systemd:NAME"? */
static inline bool torc__is_inherited(const char *address)
{
	return !strncmp(address, "fd:", 3) || !strncmp(address, "systemd:", 8);
}

/* A duplicate of the listening socket that it names, or an error of torc_listen. */
int torc__inherited_listener(const char *address);

#endif
