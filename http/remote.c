/*
 * http/remote.c - what is known of the client's connection beside the request: where it is, whether it is to end.
 */
#include <torc/http/exchange.h>

#include <arpa/inet.h>
#include <string.h>

#include <torc/core/sys.h>

#include "http/internal/exchange.h"

static void set_ip(struct torc__http_peer *p, int family, const void *ip, uint8_t len)
{
	if (!inet_ntop(family, ip, p->text, sizeof(p->text)))
		return;
	memcpy(p->ip, ip, len);
	p->ip_len = len;
	p->text_len = (uint8_t)strlen(p->text);
}

static void ask(struct torc__http_peer *p, int fd)
{
	struct sockaddr_storage a = { .ss_family = AF_UNSPEC };
	const struct sockaddr_in6 *v6 = (const void *)&a;
	socklen_t len = sizeof(a);

	*p = (struct torc__http_peer){ .known = true };
	if (torc_sys_getpeername(fd, (struct sockaddr *)&a, &len) < 0)
		return;
	if (a.ss_family == AF_INET)
		set_ip(p, AF_INET, &((const struct sockaddr_in *)(const void *)&a)->sin_addr, 4);
	else if (a.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		set_ip(p, AF_INET, v6->sin6_addr.s6_addr + 12, 4);
	else if (a.ss_family == AF_INET6)
		set_ip(p, AF_INET6, &v6->sin6_addr, 16);
}

const struct torc__http_peer *torc__http_peer(const struct torc_http_exchange *x)
{
	struct torc__http_peer *p = &x->connection->peer;

	if (torc__unlikely(!p->known))
		ask(p, torc_stream_fd(x->stream));
	return p;
}

struct torc_slice torc_http_remote(const struct torc_http_exchange *x)
{
	const struct torc__http_peer *p = torc__http_peer(x);

	return (struct torc_slice){ p->text, p->text_len };
}

bool torc_http_is_draining(const struct torc_http_exchange *x)
{
	const uint8_t *drain = x->stream->drain;

	return drain && *drain != TORC__DRAIN_NOT;
}
