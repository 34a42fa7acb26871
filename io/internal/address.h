/*
 * io/internal/address.h - textual addresses, and small system calls around sockets.
 */
#ifndef TORC_IO_INTERNAL_ADDRESS_H
#define TORC_IO_INTERNAL_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

/* The longest HOST, with its brackets. */
#define TORC__HOST_MAX 64

struct torc__address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_un un;
	};
	socklen_t len;
};

/*
 * "tcp://HOST:PORT", "HOST:PORT", ":PORT", "[V6]:PORT", "unix:PATH", "unix:///PATH". HOST is numeric or
 * "localhost"; only where `wildcard` may it be empty or "*". Returns 0 or -EINVAL.
 */
int torc__address_parse(const char *text, bool wildcard, struct torc__address *ret_address);

/* The reverse, into [size] bytes. */
void torc__address_format(const struct torc__address *address, char *text, size_t size);

#endif
