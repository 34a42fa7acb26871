/*
 * io/tls_dial.c - from an address to an open stream, encrypted or not.
 */
#include <errno.h>
#include <string.h>

#include <torc/io/socket.h>

#include "io/internal/dial.h"
#include "io/internal/tls.h"

#define TLS "tls://"

/* Whom the certificate must be for: the name, or the address as text without its port and brackets. */
static void host_of(const struct torc__target *t, char host[TORC_ADDRESS_MAX])
{
	char *end;

	torc_address_format(&t->address, host, TORC_ADDRESS_MAX);
	end = strrchr(host, ':');
	if (!end)
		return;
	*end = '\0';
	if (*(end = strstr(host, "://") ? strstr(host, "://") + 3 : host) == '[')
		end++;
	memmove(host, end, strlen(end) + 1);
	host[strcspn(host, "]%")] = '\0';
}

static int shake_hands(struct torc_stream *s, const struct torc__target *t, struct torc_tls *tls,
		       char *ret_why)
{
	char host[TORC_ADDRESS_MAX];
	int r;

	host_of(t, host);
	r = torc_tls_connect(s, tls, *t->name ? t->name : host);
	if (r < 0 && ret_why)
		torc_tls_why(s, ret_why);
	return r;
}

int torc_stream_dial(struct torc_stream *s, const char *address,
		     const struct torc_dial_options *options, struct torc_tls *tls, char *ret_why)
{
	bool encrypted = !strncmp(address, TLS, strlen(TLS));
	struct torc__target t;
	int r = torc__target_parse(encrypted ? address + strlen(TLS) : address, &t), fd;

	if (r < 0)
		return r;
	if (t.type == SOCK_DGRAM || (encrypted && (!tls || strstr(address + strlen(TLS), "://"))))
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
