/*
 * http/internal/authority.c - host and port, RFC 3986 3.2.
 */
#include <string.h>

#include "http/internal/parse.h"
#include "http/internal/scan.h"

/* Decimal octets, RFC 3986 3.2.2: four of them, without leading zeros. */
static bool ipv4_valid(const char *p, const char *end)
{
	for (unsigned octets = 1;; octets++) {
		const char *start = p;
		unsigned value = 0;

		for (; p < end && *p >= '0' && *p <= '9' && p - start < 3; p++)
			value = value * 10 + (unsigned)(*p - '0');
		if (p == start || value > 255 || (*start == '0' && p - start > 1))
			return false;
		if (octets == 4)
			return p == end;
		if (p == end || *p++ != '.')
			return false;
	}
}

/*
 * The inside of the brackets.  Groups of 16 bits are counted; "::" stands for at least one, and
 * an IPv4 address at the end for two.  No zone (RFC 6874 keeps it out of Host), and no IPvFuture,
 * which no future has brought.
 */
static bool ipv6_valid(const char *p, const char *end)
{
	unsigned groups = 0;
	bool gap = end - p >= 2 && p[0] == ':' && p[1] == ':';

	if (gap)
		p += 2;
	while (p < end) {
		const char *start = p;

		while (p < end && p - start < 4 && torc__http_is(*p, TORC__HTTP_HEX))
			p++;
		if (p < end && *p == '.' && ipv4_valid(start, end)) {
			groups += 2;
			p = end;
			break;
		}
		if (p == start)
			return false;
		groups++;
		if (p == end)
			break;
		if (*p++ != ':' || p == end)
			return false;
		if (*p == ':') {
			if (gap)
				return false;
			gap = true;
			p++;
		}
	}
	return gap ? groups <= 7 : groups == 8;
}

/* Returns the end of "[" IPv6 "]", or NULL. */
static const char *skip_ip_literal(const char *p, const char *end)
{
	const char *close = memchr(p, ']', (size_t)(end - p));

	return close && ipv6_valid(p + 1, close) ? close + 1 : NULL;
}

/* Returns the end of a reg-name or IPv4 address, or NULL for a bad escape. */
static const char *skip_reg_name(const char *p, const char *end)
{
	for (;; p += 3) {
		while (p < end && torc__http_is(*p, TORC__HTTP_HOST))
			p++;
		if (p == end || *p != '%')
			return p;
		if (end - p < 3 || !torc__http_is(p[1], TORC__HTTP_HEX) ||
		    !torc__http_is(p[2], TORC__HTTP_HEX))
			return NULL;
	}
}

/* An empty port means the default one (RFC 3986 6.2.3), except in CONNECT (RFC 9110 9.3.6). */
static bool port_valid(const char *p, const char *end, bool required)
{
	unsigned port = 0;

	if (p == end)
		return !required;
	for (; p < end; p++) {
		if (*p < '0' || *p > '9')
			return false;
		port = port * 10 + (unsigned)(*p - '0');
		if (port > UINT16_MAX)
			return false;
	}
	return port != 0;
}

bool torc__http_authority_valid(struct torc_slice authority, bool need_port)
{
	const char *p = authority.data, *end = p + authority.len, *host_end;

	if (authority.len == 0)
		return false;
	host_end = *p == '[' ? skip_ip_literal(p, end) : skip_reg_name(p, end);
	if (!host_end || host_end == p)
		return false;
	if (host_end == end)
		return !need_port;
	return *host_end == ':' && port_valid(host_end + 1, end, need_port);
}
