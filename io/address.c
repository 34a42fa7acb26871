#include "io/internal/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int parse_port(const char *text, in_port_t *ret_port)
{
	unsigned long port = 0;
	size_t digits = strlen(text);

	if (!digits || digits > 5)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		port = port * 10 + (unsigned long)(*text - '0');
	}
	if (port > 65535)
		return -EINVAL;
	*ret_port = htons((in_port_t)port);
	return 0;
}

static int parse_unix(const char *path, struct torc__address *a)
{
	size_t len = strlen(path);

	if (!len || len >= sizeof(a->un.sun_path))
		return -EINVAL;
	a->un.sun_family = AF_UNIX;
	memcpy(a->un.sun_path, path, len + 1);
	a->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
	return 0;
}

static int parse_v6(const char *host, const char *port, struct torc__address *a)
{
	a->v6.sin6_family = AF_INET6;
	a->len = sizeof(a->v6);
	if (inet_pton(AF_INET6, host, &a->v6.sin6_addr) != 1)
		return -EINVAL;
	return parse_port(port, &a->v6.sin6_port);
}

static int parse_v4(const char *host, const char *port, bool wildcard, struct torc__address *a)
{
	a->v4.sin_family = AF_INET;
	a->len = sizeof(a->v4);
	if (!strcmp(host, "localhost"))
		host = "127.0.0.1";
	else if (wildcard && (!*host || !strcmp(host, "*")))
		host = "0.0.0.0";
	if (inet_pton(AF_INET, host, &a->v4.sin_addr) != 1)
		return -EINVAL;
	return parse_port(port, &a->v4.sin_port);
}

int torc__address_parse(const char *text, bool wildcard, struct torc__address *a)
{
	char host[TORC__HOST_MAX];
	const char *colon, *begin = text;
	size_t len;

	memset(a, 0, sizeof(*a));
	if (!strncmp(text, "unix:", 5))
		return parse_unix(!strncmp(text, "unix://", 7) ? text + 7 : text + 5, a);
	if (!strncmp(text, "tcp://", 6))
		begin = text + 6;
	colon = strrchr(begin, ':');
	if (!colon || (size_t)(colon - begin) >= sizeof(host))
		return -EINVAL;
	len = (size_t)(colon - begin);
	memcpy(host, begin, len);
	host[len] = '\0';
	if (host[0] != '[')
		return parse_v4(host, colon + 1, wildcard, a);
	if (host[len - 1] != ']')
		return -EINVAL;
	host[len - 1] = '\0';
	return parse_v6(host + 1, colon + 1, a);
}

void torc__address_format(const struct torc__address *a, char *text, size_t size)
{
	char host[INET6_ADDRSTRLEN] = "?";

	if (a->any.sa_family == AF_UNIX) {
		snprintf(text, size, "unix:%s", a->un.sun_path);
	} else if (a->any.sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &a->v6.sin6_addr, host, sizeof(host));
		snprintf(text, size, "tcp://[%s]:%u", host, ntohs(a->v6.sin6_port));
	} else {
		inet_ntop(AF_INET, &a->v4.sin_addr, host, sizeof(host));
		snprintf(text, size, "tcp://%s:%u", host, ntohs(a->v4.sin_port));
	}
}
