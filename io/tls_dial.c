/*
 * io/tls_dial.c - from an address to an open stream, encrypted or not.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include <torc/io/socket.h>

#include "io/internal/dial.h"
#include "io/internal/tls.h"

/* Whom the certificate must be for: the name, or the address as text. */
static const char *host_of(const struct torc__target *t, char text[INET6_ADDRSTRLEN])
{
	const struct torc_address *a = &t->address;
	const void *bytes = a->any.sa_family == AF_INET ? (const void *)&a->v4.sin_addr
							: (const void *)&a->v6.sin6_addr;

	return *t->name ? t->name : inet_ntop(a->any.sa_family, bytes, text, INET6_ADDRSTRLEN);
}

/* A Unix socket has no name that a certificate could be for. */
static bool is_of_tcp(const char *text, const struct torc__target *t)
{
	return !strstr(text, "://") && (*t->name || t->address.any.sa_family != AF_UNIX);
}

static int shake_hands(struct torc_stream *s, const struct torc__target *t, struct torc_tls *tls,
		       char *ret_why)
{
	char text[INET6_ADDRSTRLEN];
	int r = torc_tls_connect(s, tls, host_of(t, text));

	if (r < 0 && ret_why)
		torc_tls_why(s, ret_why);
	return r;
}

int torc_stream_dial(struct torc_stream *s, const char *address,
		     const struct torc_dial_options *options, struct torc_tls *tls, char *ret_why)
{
	const char *encrypted = torc__behind_tls(address);
	struct torc__target t;
	int r = torc__target_parse(encrypted ? encrypted : address, &t), fd;

	if (r < 0)
		return r;
	if (t.type == SOCK_DGRAM || (encrypted && !(tls && is_of_tcp(encrypted, &t))))
		return -EINVAL;
	fd = torc__target_connect(&t, options);
	if (fd < 0)
		return fd;
	r = torc_stream_open(s, fd);
	if (r < 0) {
		torc_close(fd);
		return r;
	}
	r = encrypted ? shake_hands(s, &t, tls, ret_why) : 0;
	if (r < 0)
		torc_stream_close(s);
	return r;
}
