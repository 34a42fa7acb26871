#include <torc/io/address.h>

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include <torc/core/sys.h>

#include "io/internal/address.h"
#include "io/internal/call.h"

/* The longest HOST, with its brackets and its interface. */
#define HOST_MAX 80

/* Where the path of a Unix address begins. */
#define PATH_AT offsetof(struct sockaddr_un, sun_path)

/* --- reading --- */

static int parse_number(const char *text, size_t digits_max, unsigned long most,
			unsigned long *ret_number)
{
	unsigned long number = 0;
	size_t digits = strlen(text);

	if (!digits || digits > digits_max)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		number = number * 10 + (unsigned long)(*text - '0');
	}
	if (number > most)
		return -EINVAL;
	*ret_number = number;
	return 0;
}

int torc__port_parse(const char *text, in_port_t *ret_port)
{
	unsigned long port;
	int r = parse_number(text, 5, 65535, &port);

	if (!r)
		*ret_port = htons((in_port_t)port);
	return r;
}

/* An abstract name has no zero byte at its end: that would be a part of it. */
static int parse_unix(const char *path, struct torc_address *a)
{
	bool abstract = *path == '@';
	size_t len = strlen(path);

	if (len <= abstract || len >= sizeof(a->un.sun_path))
		return -EINVAL;
	a->un.sun_family = AF_UNIX;
	memcpy(a->un.sun_path, path, len);
	if (abstract)
		a->un.sun_path[0] = '\0';
	a->len = (socklen_t)(PATH_AT + len + !abstract);
	return 0;
}

/* Only these are told apart by the interface. */
static bool is_of_link(const struct in6_addr *host)
{
	return IN6_IS_ADDR_LINKLOCAL(host) || IN6_IS_ADDR_MC_LINKLOCAL(host) ||
	       IN6_IS_ADDR_MC_NODELOCAL(host);
}

static int parse_interface(const char *text, uint32_t *ret_index)
{
	unsigned long number;

	if (!parse_number(text, 10, UINT32_MAX, &number) && number) {
		*ret_index = (uint32_t)number;
		return 0;
	}
	if (!*text || strlen(text) >= IF_NAMESIZE)
		return -EINVAL;
	number = torc__on_linux() ? if_nametoindex(text) : 0;
	*ret_index = (uint32_t)number;
	return number ? 0 : -ENODEV;
}

static int parse_v6(char *host, const char *port, struct torc_address *a)
{
	char *interface = strchr(host, '%');

	a->v6.sin6_family = AF_INET6;
	a->len = sizeof(a->v6);
	if (interface)
		*interface++ = '\0';
	if (inet_pton(AF_INET6, host, &a->v6.sin6_addr) != 1)
		return -EINVAL;
	if (interface) {
		int r = is_of_link(&a->v6.sin6_addr)
				? parse_interface(interface, &a->v6.sin6_scope_id)
				: -EINVAL;

		if (r < 0)
			return r;
	}
	return torc__port_parse(port, &a->v6.sin6_port);
}

static int parse_v4(const char *host, const char *port, bool wildcard, struct torc_address *a)
{
	a->v4.sin_family = AF_INET;
	a->len = sizeof(a->v4);
	if (!strcmp(host, "localhost"))
		host = "127.0.0.1";
	else if (wildcard && (!*host || !strcmp(host, "*")))
		host = "0.0.0.0";
	if (inet_pton(AF_INET, host, &a->v4.sin_addr) != 1)
		return -EINVAL;
	return torc__port_parse(port, &a->v4.sin_port);
}

static int parse_ip(const char *text, bool wildcard, struct torc_address *a)
{
	const char *colon = strrchr(text, ':');
	char host[HOST_MAX];
	size_t len;

	if (!colon || (size_t)(colon - text) >= sizeof(host))
		return -EINVAL;
	len = (size_t)(colon - text);
	memcpy(host, text, len);
	host[len] = '\0';
	if (host[0] != '[')
		return parse_v4(host, colon + 1, wildcard, a);
	if (host[len - 1] != ']')
		return -EINVAL;
	host[len - 1] = '\0';
	return parse_v6(host + 1, colon + 1, a);
}

struct scheme {
	const char *text;
	int type;
	bool is_unix;
};

/* Of two that begin alike the longer one first; those for formatting before those that are only read. */
static const struct scheme schemes[] = {
	{ "tcp://", SOCK_STREAM, false },        { "udp://", SOCK_DGRAM, false },
	{ "unixpacket:", SOCK_SEQPACKET, true }, { "unixgram:", SOCK_DGRAM, true },
	{ "unix:", SOCK_STREAM, true },
};

#define SCHEMES (sizeof(schemes) / sizeof(schemes[0]))

static const struct scheme *find_scheme(const char *text)
{
	for (size_t i = 0; i < SCHEMES; i++)
		if (!strncmp(text, schemes[i].text, strlen(schemes[i].text)))
			return &schemes[i];
	return NULL;
}

int torc_address_parse(const char *text, unsigned flags, struct torc_address *ret)
{
	const struct scheme *scheme = find_scheme(text);
	struct torc_address a;
	int r;

	if (flags & ~TORC_ADDRESS_WILDCARD)
		return -EINVAL;
	memset(&a, 0, sizeof(a));
	if (scheme) {
		text += strlen(scheme->text);
		a.type = scheme->type;
	}
	if (scheme && scheme->is_unix)
		r = parse_unix(!strncmp(text, "//", 2) ? text + 2 : text, &a);
	else
		r = parse_ip(text, flags & TORC_ADDRESS_WILDCARD, &a);
	if (!r)
		*ret = a;
	return r;
}

/* --- writing --- */

static const char *scheme_of(const struct torc_address *a)
{
	bool is_unix = a->any.sa_family == AF_UNIX;

	for (size_t i = 0; i < SCHEMES; i++)
		if (schemes[i].is_unix == is_unix && schemes[i].type == a->type)
			return schemes[i].text;
	return is_unix ? "unix:" : "";
}

/* How many bytes of sun_path are the name: of a path, those before its zero byte; the kernel need not send one. */
static size_t path_len(const struct torc_address *a)
{
	size_t len = a->len > PATH_AT ? a->len - PATH_AT : 0;

	if (len > sizeof(a->un.sun_path))
		len = sizeof(a->un.sun_path);
	return len && a->un.sun_path[0] ? strnlen(a->un.sun_path, len) : len;
}

static void format_unix(const struct torc_address *a, char *text, size_t size)
{
	size_t len = path_len(a);
	char path[sizeof(a->un.sun_path)];

	for (size_t i = 0; i < len; i++)
		path[i] = a->un.sun_path[i] ? a->un.sun_path[i] : '@';
	snprintf(text, size, "%s%.*s", scheme_of(a), (int)len, path);
}

static void format_v6(const struct torc_address *a, char *text, size_t size)
{
	char host[INET6_ADDRSTRLEN] = "?", scope[16] = "";

	inet_ntop(AF_INET6, &a->v6.sin6_addr, host, sizeof(host));
	if (a->v6.sin6_scope_id && is_of_link(&a->v6.sin6_addr))
		snprintf(scope, sizeof(scope), "%%%u", a->v6.sin6_scope_id);
	snprintf(text, size, "%s[%s%s]:%u", scheme_of(a), host, scope, ntohs(a->v6.sin6_port));
}

static void format_v4(const struct torc_address *a, char *text, size_t size)
{
	char host[INET_ADDRSTRLEN] = "?";

	inet_ntop(AF_INET, &a->v4.sin_addr, host, sizeof(host));
	snprintf(text, size, "%s%s:%u", scheme_of(a), host, ntohs(a->v4.sin_port));
}

char *torc_address_format(const struct torc_address *a, char *text, size_t size)
{
	if (a->len < sizeof(sa_family_t))
		snprintf(text, size, "nowhere");
	else if (a->any.sa_family == AF_UNIX)
		format_unix(a, text, size);
	else if (a->any.sa_family == AF_INET6)
		format_v6(a, text, size);
	else
		format_v4(a, text, size);
	return text;
}

/* --- the rest --- */

static bool equal_unix(const struct torc_address *a, const struct torc_address *b)
{
	size_t len = path_len(a);

	return len == path_len(b) && !memcmp(a->un.sun_path, b->un.sun_path, len);
}

bool torc_address_equal(const struct torc_address *a, const struct torc_address *b)
{
	if (!a->len || !b->len)
		return a->len == b->len;
	if (a->any.sa_family != b->any.sa_family)
		return false;
	switch (a->any.sa_family) {
	case AF_INET:
		return a->v4.sin_port == b->v4.sin_port &&
		       a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
	case AF_INET6:
		return a->v6.sin6_port == b->v6.sin6_port &&
		       a->v6.sin6_scope_id == b->v6.sin6_scope_id &&
		       IN6_ARE_ADDR_EQUAL(&a->v6.sin6_addr, &b->v6.sin6_addr);
	case AF_UNIX: return equal_unix(a, b);
	default: return false;
	}
}

static bool is_ip(const struct torc_address *a)
{
	return a->len && (a->any.sa_family == AF_INET || a->any.sa_family == AF_INET6);
}

int torc_address_port(const struct torc_address *a)
{
	if (!is_ip(a))
		return -EAFNOSUPPORT;
	return ntohs(a->any.sa_family == AF_INET ? a->v4.sin_port : a->v6.sin6_port);
}

int torc_address_set_port(struct torc_address *a, uint16_t port)
{
	if (!is_ip(a))
		return -EAFNOSUPPORT;
	if (a->any.sa_family == AF_INET)
		a->v4.sin_port = htons(port);
	else
		a->v6.sin6_port = htons(port);
	return 0;
}

static int name_of(int fd, int (*get)(int, struct sockaddr *, socklen_t *),
		   struct torc_address *ret)
{
	struct torc_address a;
	socklen_t type_len = sizeof(a.type);
	int r;

	memset(&a, 0, sizeof(a));
	a.len = sizeof(a.un);
	r = get(fd, &a.any, &a.len);
	if (r < 0)
		return r;
	if (a.any.sa_family != AF_UNIX && !is_ip(&a))
		return -EAFNOSUPPORT;
	if (a.len > sizeof(a.un)) /* a path without room for its zero byte */
		a.len = sizeof(a.un);
	r = torc_sys_getsockopt(fd, SOL_SOCKET, SO_TYPE, &a.type, &type_len);
	if (!r)
		*ret = a;
	return r;
}

int torc_local_address(int fd, struct torc_address *ret)
{
	return name_of(fd, torc_sys_getsockname, ret);
}

int torc_peer_address(int fd, struct torc_address *ret)
{
	return name_of(fd, torc_sys_getpeername, ret);
}
