/*
 * io/internal/dial.h - where to connect to, as text, and the connection: for torc_dial and for what is built on connections.
 */
#ifndef TORC_IO_INTERNAL_DIAL_H
#define TORC_IO_INTERNAL_DIAL_H

#include <string.h>

#include <torc/io/socket.h>

#include "io/internal/name.h"

/* In front of an address that is to be encrypted. */
#define TORC__TLS_SCHEME "tls://"

/* What is behind "tls://", or NULL: it does not begin with that. */
static inline const char *torc__behind_tls(const char *address)
{
	size_t len = sizeof(TORC__TLS_SCHEME) - 1;

	return strncmp(address, TORC__TLS_SCHEME, len) ? NULL : address + len;
}

struct torc__target {
	int type;                    /* of the socket */
	char name[TORC__NAME_BYTES]; /* in lower case; empty: `address` is it */
	uint16_t port;               /* of a name */
	struct torc_address address;
};

/*
 * Read what torc_dial takes, or what stands behind another scheme: NAME:PORT, with tcp:// or udp:// or nothing in front, or
 * an address (io/address.h). Returns 0, or -EINVAL, -ENAMETOOLONG, -ENODEV.
 */
int torc__target_parse(const char *text, struct torc__target *ret);

/* The descriptor of a connection, or an error: torc_dial. `options` may be NULL. */
int torc__target_connect(const struct torc__target *target,
			 const struct torc_dial_options *options);

#endif
