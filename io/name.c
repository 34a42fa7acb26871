#include <torc/io/name.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <torc/core/fiber.h>
#include <torc/io/address.h>

#include "core/internal/fiber.h"
#include "io/internal/name.h"

#define LABEL_MAX 63

/* --- what is a name --- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* In lower case, or 0: not for names. Not isalpha(3): names do not depend on a locale. */
static char letter(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c - 'A' + 'a');
	return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-' || c == '_' ? c : '\0';
}

/*
 * The library takes "127.1" and "0x7f000001" for addresses, and no name of the DNS ends like that (RFC 3696). Who checks
 * addresses before they are used would not have seen that these are some.
 */
static bool is_number(const char *label, size_t len)
{
	size_t digits = 0;

	if (len >= 2 && label[0] == '0' && label[1] == 'x')
		return strspn(label + 2, "0123456789abcdef") == len - 2;
	while (digits < len && is_digit(label[digits]))
		digits++;
	return digits == len;
}

/* Copy one label; returns its length, or an error. */
static int read_label(const char *from, char *to)
{
	int len = 0;

	for (; *from && *from != '.'; from++, len++) {
		if (len == LABEL_MAX)
			return -ENAMETOOLONG;
		to[len] = letter(*from);
		if (!to[len])
			return -EINVAL;
	}
	return len ? len : -EINVAL;
}

int torc__name_read(const char *host, char ret_name[TORC__NAME_BYTES])
{
	size_t len = strnlen(host, TORC__NAME_BYTES), at = 0, label;

	if (len == TORC__NAME_BYTES || (len > TORC_NAME_MAX && host[len - 1] != '.'))
		return -ENAMETOOLONG;
	do {
		int r = read_label(host + at, ret_name + at);

		if (r < 0)
			return r;
		label = at;
		at += (size_t)r;
		ret_name[at] = '\0';
		if (is_number(ret_name + label, at - label) && (!host[at] || !host[at + 1]))
			return -EINVAL;
		if (host[at] == '.')
			ret_name[at++] = '.';
	} while (host[at]);
	ret_name[at] = '\0';
	return 0;
}

/* "localhost", or "something.localhost", with or without a last dot. */
static bool is_localhost(const char *name)
{
	static const char localhost[] = "localhost";
	const size_t own = sizeof(localhost) - 1;
	size_t len = strlen(name);

	len -= name[len - 1] == '.';
	if (len < own || memcmp(name + len - own, localhost, own) != 0)
		return false;
	return len == own || name[len - own - 1] == '.';
}

/* --- answers --- */

static void add(struct torc_addresses *all, const union torc__ip *ip)
{
	struct torc_address *a = &all->list[all->count++];

	memset(a, 0, sizeof(*a));
	if (ip->any.sa_family == AF_INET) {
		a->v4 = ip->v4;
		a->len = sizeof(a->v4);
	} else {
		a->v6 = ip->v6;
		a->len = sizeof(a->v6);
	}
}

static int add_loopback(int family, struct torc_addresses *all)
{
	const union torc__ip v6 = { .v6 = { .sin6_family = AF_INET6,
					    .sin6_addr = IN6ADDR_LOOPBACK_INIT } };
	const union torc__ip v4 = { .v4 = { .sin_family = AF_INET,
					    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) } };

	if (family != AF_INET)
		add(all, &v6);
	if (family != AF_INET6)
		add(all, &v4);
	return 0;
}

/* A numeric address: -EINVAL where it is none. */
static int add_numeric(const char *host, int family, struct torc_addresses *all)
{
	struct torc_address *a = &all->list[0];
	char text[TORC_ADDRESS_MAX];
	int r, len = snprintf(text, sizeof(text), strchr(host, ':') ? "[%s]:0" : "%s:0", host);

	if (len < 0 || (size_t)len >= sizeof(text))
		return -EINVAL;
	r = torc_address_parse(text, 0, a);
	if (r < 0)
		return r;
	all->count = 1;
	return family && a->any.sa_family != family ? -ENODATA : 0;
}

static int add_found(const char *name, int family, struct torc_addresses *all)
{
	struct torc__ips found;
	int r = torc__name_look_up(name, family, &found);

	for (unsigned i = 0; !r && i < found.count; i++)
		add(all, &found.list[i]);
	return r;
}

static int find(const char *host, int family, struct torc_addresses *all)
{
	char name[TORC__NAME_BYTES];
	int r = torc__name_read(host, name);

	if (r == -EINVAL)
		return add_numeric(host, family, all);
	if (r < 0)
		return r;
	return is_localhost(name) ? add_loopback(family, all) : add_found(name, family, all);
}

int torc_resolve(const char *host, uint16_t port, const struct torc_resolve_options *options,
		 struct torc_addresses *ret)
{
	const struct torc_resolve_options defaults = { .family = 0 };
	const struct torc_resolve_options *o = options ? options : &defaults;
	struct torc_addresses all;
	int r = torc_in_fiber() ? torc__scope_check(torc__self()) : 0;

	if (r < 0)
		return r;
	if ((o->family && o->family != AF_INET && o->family != AF_INET6) ||
	    (o->type && o->type != SOCK_STREAM && o->type != SOCK_DGRAM))
		return -EINVAL;
	all.count = 0;
	r = find(host, o->family, &all);
	if (r < 0)
		return r;
	ret->count = all.count;
	for (unsigned i = 0; i < all.count; i++) {
		ret->list[i] = all.list[i];
		ret->list[i].type = o->type;
		(void)!torc_address_set_port(&ret->list[i], port); /* these have one */
	}
	return 0;
}
