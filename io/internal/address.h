/*
 * io/internal/address.h - textual addresses, and small system calls around sockets.
 */
#ifndef TORC_IO_INTERNAL_ADDRESS_H
#define TORC_IO_INTERNAL_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/internal/sockaddr.h"

/* The longest HOST, with its brackets. */
#define TORC__HOST_MAX 64

/*
 * "tcp://HOST:PORT", "HOST:PORT", ":PORT", "[V6]:PORT", "unix:PATH", "unix:///PATH". HOST is numeric or
 * "localhost"; only where `wildcard` may it be empty or "*". Returns 0 or -EINVAL.
 */
int torc__address_parse(const char *text, bool wildcard, struct torc__address *ret_address);

/* The reverse, into [size] bytes. */
void torc__address_format(const struct torc__address *address, char *text, size_t size);

#endif
