/*
 * http/client_proxy.c - which proxy a request goes through, if any.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http/internal/client.h"

/* --- reading what was configured --- */

static const char *either(const char *lower, const char *upper)
{
	const char *value = getenv(lower);

	if (!value || !*value)
		value = upper ? getenv(upper) : NULL;
	return value && *value ? value : NULL;
}

static int copy_credentials(const struct torc_url *u, char **ret)
{
	char value[1024];
	int r = torc__http_basic_of_url(u, value, sizeof(value));

	if (r <= 0)
		return r;
	*ret = strdup(value);
	return *ret ? 0 : -ENOMEM;
}

static char *copy_origin(const struct torc_url *u)
{
	char text[7 + TORC_URL_AUTHORITY_MAX + 1] = "http://";

	return torc_url_host(u, text + 7, sizeof(text) - 7) < 0 ? NULL : strdup(text);
}

/* "http://user:password@host:port", or without the scheme. */
static int parse_proxy(const char *text, struct torc__http_proxy *ret)
{
	char url[TORC_URL_MAX + 1], address[TORC_URL_HOST_MAX + 16];
	struct torc_url u;
	int n = snprintf(url, sizeof(url), "%s%s", strstr(text, "://") ? "" : "http://", text);

	if (n < 0 || (size_t)n >= sizeof(url) || torc_url_parse(url, (size_t)n, &u) < 0 ||
	    !torc__http_slice_is_word(u.scheme, "http"))
		return -EINVAL;
	snprintf(address, sizeof(address), "%s%.*s%s:%u", u.is_ipv6 ? "[" : "", (int)u.host.len,
		 u.host.data, u.is_ipv6 ? "]" : "", u.port);
	ret->address = strdup(address);
	ret->origin = copy_origin(&u);
	return ret->address && ret->origin ? copy_credentials(&u, &ret->authorization) : -ENOMEM;
}

/* One that the environment has and that makes no sense is an error too: requests must not go past it. */
static int set_proxy(const char *text, struct torc__http_proxy *ret)
{
	return text ? parse_proxy(text, ret) : 0;
}

int torc__http_proxies_init(struct torc_http_client *client,
			    const struct torc_http_client_options *o)
{
	bool ask = !o->no_environment && !o->proxy && !o->connect_to;
	const char *all = ask ? either("all_proxy", "ALL_PROXY") : o->proxy;
	const char *http = ask ? either("http_proxy", NULL) : NULL;
	const char *https = ask ? either("https_proxy", "HTTPS_PROXY") : NULL;
	const char *none = o->no_proxy;
	int r = set_proxy(http ? http : all, &client->http_proxy);

	if (!none && ask)
		none = either("no_proxy", "NO_PROXY");
	if (!r)
		r = set_proxy(https ? https : all, &client->https_proxy);
	if (r < 0 || !none)
		return r;
	client->no_proxy = strdup(none);
	return client->no_proxy ? 0 : -ENOMEM;
}

static void free_proxy(struct torc__http_proxy *p)
{
	free(p->address);
	free(p->authorization);
	free(p->origin);
}

void torc__http_proxies_done(struct torc_http_client *client)
{
	free_proxy(&client->http_proxy);
	free_proxy(&client->https_proxy);
	free(client->no_proxy);
}

/* --- which hosts go without --- */

struct ip {
	int family; /* AF_UNSPEC: it is a name */
	unsigned char bytes[16];
};

static struct ip parse_ip(const char *text)
{
	struct ip ip = { .family = AF_INET };

	if (inet_pton(AF_INET, text, ip.bytes) == 1)
		return ip;
	ip.family = inet_pton(AF_INET6, text, ip.bytes) == 1 ? AF_INET6 : AF_UNSPEC;
	return ip;
}

static bool same_bits(const unsigned char *a, const unsigned char *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (memcmp(a, b, whole))
		return false;
	return !rest || !((a[whole] ^ b[whole]) >> (8 - rest));
}

/* What is no number is no pattern: nothing must be more open than it looks. */
static bool parse_number(const char *text, unsigned *ret)
{
	unsigned value = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || value > 65535)
			return false;
		value = value * 10 + (unsigned)(*text - '0');
	}
	*ret = value;
	return true;
}

/* "10.0.0.0/8", "fd00::/8", or an address. */
static bool is_in_network(const struct ip *ip, char *pattern)
{
	char *slash = strchr(pattern, '/');
	unsigned most = ip->family == AF_INET ? 32 : 128, bits = most;
	struct ip network;

	if (slash) {
		*slash = '\0';
		if (!parse_number(slash + 1, &bits))
			return false;
	}
	network = parse_ip(pattern);
	return network.family == ip->family && bits <= most &&
	       same_bits(ip->bytes, network.bytes, bits);
}

/* The root's dot, at the end of a name, changes nothing. */
static size_t length_without_dot(const char *name)
{
	size_t len = strlen(name);

	return len && name[len - 1] == '.' ? len - 1 : len;
}

/* "example.org" and ".example.org" are the domain and all below it. */
static bool is_in_domain(const char *host, const char *domain)
{
	size_t host_len = length_without_dot(host), len;

	if (*domain == '*')
		domain++;
	if (*domain == '.')
		domain++;
	len = length_without_dot(domain);
	if (!len || len > host_len || strncasecmp(host + host_len - len, domain, len))
		return false;
	return len == host_len || host[host_len - len - 1] == '.';
}

/* Cut ":PORT" off, and brackets; false: it is for another port. */
static bool fits_port(char **pattern, uint16_t port)
{
	char *p = *pattern, *colon = strrchr(p, ':'), *close = strchr(p, ']');
	unsigned only;

	if (*p == '[' && close) {
		*pattern = p + 1;
		*close = '\0';
		colon = close[1] == ':' ? close + 1 : NULL;
	} else if (colon && strchr(p, ':') != colon) {
		colon = NULL; /* IPv6 without brackets */
	}
	if (!colon)
		return true;
	*colon = '\0';
	return parse_number(colon + 1, &only) && only == port;
}

static bool matches(char *pattern, const char *host, const struct ip *ip, uint16_t port)
{
	if (!strcmp(pattern, "*"))
		return true;
	if (!fits_port(&pattern, port))
		return false;
	return ip->family == AF_UNSPEC ? is_in_domain(host, pattern) : is_in_network(ip, pattern);
}

static bool goes_without(const char *list, const struct torc_url *u)
{
	char host[TORC_URL_HOST_MAX + 1], pattern[TORC_URL_HOST_MAX + 1];
	struct ip ip;

	snprintf(host, sizeof(host), "%.*s", (int)u->host.len, u->host.data);
	ip = parse_ip(host);
	while (*list) {
		size_t len;

		list += strspn(list, ", \t");
		len = strcspn(list, ", \t");
		if (len && len < sizeof(pattern)) {
			snprintf(pattern, sizeof(pattern), "%.*s", (int)len, list);
			if (matches(pattern, host, &ip, u->port))
				return true;
		}
		list += len;
	}
	return false;
}

const struct torc__http_proxy *torc__http_proxy_for(const struct torc_http_client *client,
						    const struct torc_url *u)
{
	const struct torc__http_proxy *p = torc__http_slice_is(u->scheme, "https")
						   ? &client->https_proxy
						   : &client->http_proxy;

	if (!p->address || (client->no_proxy && goes_without(client->no_proxy, u)))
		return NULL;
	return p;
}
