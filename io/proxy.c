#include <torc/io/proxy.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "io/internal/proxy.h"

/* The longest of version 1, with its line end. */
#define V1_MAX 107

/* Version 2: signature, version and command, family and protocol, length of the rest. */
#define V2_HEAD 16

static const char v1_begin[] = "PROXY ";
static const char v2_begin[] = "\r\n\r\n\0\r\nQUIT\n";

#define V1_BEGIN (sizeof(v1_begin) - 1)
#define V2_BEGIN (sizeof(v2_begin) - 1)

static unsigned number16(const char *p)
{
	return (unsigned)(unsigned char)p[0] << 8 | (unsigned char)p[1];
}

/* --- version 1 --- */

/* One word and the one byte that must follow it; returns what is behind. */
static const char *take_word(const char *at, const char *end, char follows, char *ret, size_t size)
{
	const char *stop = memchr(at, follows, (size_t)(end - at));

	if (!stop || (size_t)(stop - at) >= size)
		return NULL;
	memcpy(ret, at, (size_t)(stop - at));
	ret[stop - at] = '\0';
	return memchr(at, 0, (size_t)(stop - at)) ? NULL : stop + 1;
}

static bool read_port(const char *text, in_port_t *ret)
{
	unsigned port = 0;
	size_t len = strlen(text);

	if (!len || len > 5 || (*text == '0' && len > 1))
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		port = port * 10 + (unsigned)(*text - '0');
	}
	*ret = htons((in_port_t)port);
	return port <= 65535;
}

static bool read_end(int family, const char *host, const char *port, struct torc_address *ret)
{
	ret->any.sa_family = (sa_family_t)family;
	ret->type = SOCK_STREAM;
	if (family == AF_INET) {
		ret->len = sizeof(ret->v4);
		return inet_pton(AF_INET, host, &ret->v4.sin_addr) == 1 &&
		       read_port(port, &ret->v4.sin_port);
	}
	ret->len = sizeof(ret->v6);
	return inet_pton(AF_INET6, host, &ret->v6.sin6_addr) == 1 &&
	       read_port(port, &ret->v6.sin6_port);
}

/* "TCP4 SOURCE DESTINATION PORT PORT", without the line end: `end` is where it begins. */
static bool read_line(const char *at, const char *end, struct torc_proxy *ret)
{
	char word[8], source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN], from[8], to[8];
	int family;

	if (end - at >= 7 && !memcmp(at, "UNKNOWN", 7) && (end - at == 7 || at[7] == ' ')) {
		ret->local = true;
		return true;
	}
	at = take_word(at, end, ' ', word, sizeof(word));
	at = at ? take_word(at, end, ' ', source, sizeof(source)) : NULL;
	at = at ? take_word(at, end, ' ', destination, sizeof(destination)) : NULL;
	at = at ? take_word(at, end, ' ', from, sizeof(from)) : NULL;
	if (!at || !take_word(at, end + 1, '\r', to, sizeof(to)))
		return false;
	if (strcmp(word, "TCP4") && strcmp(word, "TCP6"))
		return false;
	family = word[3] == '4' ? AF_INET : AF_INET6;
	return read_end(family, source, from, &ret->source) &&
	       read_end(family, destination, to, &ret->destination);
}

static int parse_v1(const char *data, size_t len, struct torc_proxy *ret, size_t *ret_need)
{
	size_t look = len < V1_MAX ? len : V1_MAX;
	const char *cr = memchr(data, '\r', look);
	struct torc_proxy p;

	if (memchr(data, '\n', cr ? (size_t)(cr - data) : look))
		return -EPROTO;
	if (!cr || cr + 1 == data + len) {
		*ret_need = len + 1;
		return len < V1_MAX ? 0 : -EPROTO;
	}
	memset(&p, 0, sizeof(p));
	p.version = 1;
	if (cr[1] != '\n' || cr + 2 > data + V1_MAX || !read_line(data + V1_BEGIN, cr, &p))
		return -EPROTO;
	*ret = p;
	return (int)(cr - data) + 2;
}

/* --- version 2 --- */

static void set_unix(struct torc_address *a, const char *path, int type)
{
	size_t len = sizeof(a->un.sun_path);

	memcpy(a->un.sun_path, path, len);
	a->un.sun_family = AF_UNIX;
	/* Of a path, one zero byte counts, of an abstract name those inside of it do. */
	while (len && !path[len - 1])
		len--;
	if (len && path[0])
		len = strnlen(path, len) + (len < sizeof(a->un.sun_path));
	a->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	a->type = type;
}

static void set_ip(struct torc_address *a, int family, const char *host, const char *port, int type)
{
	a->any.sa_family = (sa_family_t)family;
	a->type = type;
	if (family == AF_INET) {
		memcpy(&a->v4.sin_addr, host, 4);
		memcpy(&a->v4.sin_port, port, 2);
		a->len = sizeof(a->v4);
	} else {
		memcpy(&a->v6.sin6_addr, host, 16);
		memcpy(&a->v6.sin6_port, port, 2);
		a->len = sizeof(a->v6);
	}
}

/* Returns how many bytes the addresses are, or -EPROTO. */
static int read_ends(struct torc_proxy *p, unsigned family, const char *data, size_t len)
{
	static const unsigned bytes[] = { 0, 12, 36, 216 };
	unsigned protocol = family & 15, need;
	int type = protocol == 2 ? SOCK_DGRAM : SOCK_STREAM;

	family >>= 4;
	if (family > 3 || protocol > 2)
		return -EPROTO;
	need = bytes[family];
	if (!family || !protocol) {
		p->local = true; /* "unspecified": what is there is to be ignored */
		return len < need ? -EPROTO : (int)need;
	}
	if (len < need)
		return -EPROTO;
	if (family == 3) {
		set_unix(&p->source, data, type);
		set_unix(&p->destination, data + 108, type);
	} else {
		unsigned host = family == 1 ? 4 : 16;
		int af = family == 1 ? AF_INET : AF_INET6;

		set_ip(&p->source, af, data, data + 2 * host, type);
		set_ip(&p->destination, af, data + host, data + 2 * host + 2, type);
	}
	return (int)need;
}

/* CRC-32C (Castagnoli), bit by bit: it is of a few hundred bytes, once for a connection. */
static uint32_t crc32c(uint32_t crc, const char *data, size_t len)
{
	for (; len; len--) {
		crc ^= (unsigned char)*data++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return crc;
}

/* The sum is of the whole header, with zeros where it stands itself. */
static bool sum_is_right(const char *header, size_t header_len, const char *sum)
{
	static const char zeros[4];
	size_t before = (size_t)(sum - header);
	uint32_t crc = crc32c(UINT32_MAX, header, before), told;

	crc = crc32c(crc, zeros, sizeof(zeros));
	crc = ~crc32c(crc, sum + 4, header_len - before - 4);
	memcpy(&told, sum, sizeof(told));
	return crc == ntohl(told);
}

static bool set_text(char *to, size_t size, const char *data, size_t len)
{
	if (len >= size || memchr(data, 0, len))
		return false;
	memcpy(to, data, len);
	to[len] = '\0';
	return true;
}

struct cursor {
	struct torc_proxy *p;
	const char *header;
	size_t header_len;
};

typedef bool tlv_fn(const struct cursor *c, unsigned type, const char *data, size_t len);

/* Each of a row that must fill its room. */
static bool each_tlv(const struct cursor *c, const char *data, size_t len, tlv_fn *take)
{
	while (len) {
		size_t value;

		if (len < 3)
			return false;
		value = number16(data + 1);
		if (value > len - 3 || !take(c, (unsigned char)*data, data + 3, value))
			return false;
		data += 3 + value;
		len -= 3 + value;
	}
	return true;
}

static bool take_ssl_tlv(const struct cursor *c, unsigned type, const char *data, size_t len)
{
	switch (type) {
	case 0x21: return set_text(c->p->ssl_version, sizeof(c->p->ssl_version), data, len);
	case 0x22: return set_text(c->p->ssl_name, sizeof(c->p->ssl_name), data, len);
	default: return true;
	}
}

static bool take_ssl(const struct cursor *c, const char *data, size_t len)
{
	static const char verified[4];

	if (len < 5)
		return false;
	c->p->ssl = (unsigned char)data[0] & 7u;
	if (c->p->ssl & 6u && !memcmp(data + 1, verified, 4))
		c->p->ssl |= TORC_PROXY_CERT_VERIFIED;
	return each_tlv(c, data + 5, len - 5, take_ssl_tlv);
}

static bool take_tlv(const struct cursor *c, unsigned type, const char *data, size_t len)
{
	struct torc_proxy *p = c->p;

	switch (type) {
	case 0x01: return set_text(p->alpn, sizeof(p->alpn), data, len);
	case 0x02: return set_text(p->authority, sizeof(p->authority), data, len);
	case 0x03: return len == 4 && sum_is_right(c->header, c->header_len, data);
	case 0x05:
		if (len > sizeof(p->unique_id))
			return false;
		memcpy(p->unique_id, data, len);
		p->unique_id_len = (unsigned)len;
		return true;
	case 0x20: return take_ssl(c, data, len);
	default: return true;
	}
}

static int read_v2(const char *data, size_t len, struct torc_proxy *ret)
{
	struct torc_proxy p;
	struct cursor c = { &p, data, len };
	unsigned command = (unsigned char)data[12];
	int ends;

	memset(&p, 0, sizeof(p));
	p.version = 2;
	if (command == 0x20) { /* for itself: the rest is to be skipped */
		p.local = true;
		*ret = p;
		return (int)len;
	}
	ends = read_ends(&p, (unsigned char)data[13], data + V2_HEAD, len - V2_HEAD);
	if (ends < 0)
		return ends;
	if (!each_tlv(&c, data + V2_HEAD + ends, len - V2_HEAD - (size_t)ends, take_tlv))
		return -EPROTO;
	*ret = p;
	return (int)len;
}

static int parse_v2(const char *data, size_t len, struct torc_proxy *ret, size_t *ret_need)
{
	unsigned command = len > 12 ? (unsigned char)data[12] : 0x20;

	*ret_need = V2_HEAD;
	if (command != 0x20 && command != 0x21)
		return -EPROTO;
	if (len < V2_HEAD)
		return 0;
	*ret_need = V2_HEAD + number16(data + 14);
	if (*ret_need > TORC_PROXY_MAX)
		return -EPROTO;
	return len < *ret_need ? 0 : read_v2(data, *ret_need, ret);
}

static bool begins(const char *data, size_t len, const char *with, size_t with_len)
{
	return !memcmp(data, with, len < with_len ? len : with_len);
}

int torc__proxy_parse(const char *data, size_t len, struct torc_proxy *ret, size_t *ret_need)
{
	*ret_need = 1;
	if (!len)
		return 0;
	if (begins(data, len, v1_begin, V1_BEGIN)) {
		*ret_need = len + 1;
		return len < V1_BEGIN ? 0 : parse_v1(data, len, ret, ret_need);
	}
	return begins(data, len, v2_begin, V2_BEGIN) ? parse_v2(data, len, ret, ret_need) : -EPROTO;
}

int torc_proxy_read(struct torc_stream *s, struct torc_proxy *ret)
{
	size_t need = 1;

	for (;;) {
		struct torc_slice in;
		int r = torc_stream_fill(s, need, &in);

		if (r <= 0)
			return r ? r : -EPIPE;
		r = torc__proxy_parse(in.data, in.len, ret, &need);
		if (r > 0)
			torc_stream_consume(s, (size_t)r);
		if (r)
			return r < 0 ? r : 0;
	}
}

/* --- writing --- */

static int format_v1(char *to, const struct torc_address *source,
		     const struct torc_address *destination)
{
	char hosts[2][INET6_ADDRSTRLEN];
	bool v4;

	if (!source)
		return snprintf(to, TORC__PROXY_FORMAT_MAX, "PROXY UNKNOWN\r\n");
	v4 = source->any.sa_family == AF_INET;
	if ((!v4 && source->any.sa_family != AF_INET6) || source->type == SOCK_DGRAM)
		return -EAFNOSUPPORT;
	inet_ntop(source->any.sa_family,
		  v4 ? (const void *)&source->v4.sin_addr : &source->v6.sin6_addr, hosts[0],
		  sizeof(hosts[0]));
	inet_ntop(source->any.sa_family,
		  v4 ? (const void *)&destination->v4.sin_addr : &destination->v6.sin6_addr,
		  hosts[1], sizeof(hosts[1]));
	return snprintf(to, TORC__PROXY_FORMAT_MAX, "PROXY TCP%c %s %s %d %d\r\n", v4 ? '4' : '6',
			hosts[0], hosts[1], torc_address_port(source),
			torc_address_port(destination));
}

static char *put(char *to, const void *data, size_t len)
{
	memcpy(to, data, len);
	return to + len;
}

static char *put_ends(char *to, const struct torc_address *a, const struct torc_address *b)
{
	switch (a->any.sa_family) {
	case AF_INET:
		to = put(put(to, &a->v4.sin_addr, 4), &b->v4.sin_addr, 4);
		return put(put(to, &a->v4.sin_port, 2), &b->v4.sin_port, 2);
	case AF_INET6:
		to = put(put(to, &a->v6.sin6_addr, 16), &b->v6.sin6_addr, 16);
		return put(put(to, &a->v6.sin6_port, 2), &b->v6.sin6_port, 2);
	default: break;
	}
	/* What is behind a name in its structure is not it. */
	memset(to, 0, 216);
	for (int i = 0; i < 2; i++) {
		const struct torc_address *end = i ? b : a;
		size_t len = end->len > offsetof(struct sockaddr_un, sun_path)
				     ? end->len - offsetof(struct sockaddr_un, sun_path)
				     : 0;

		memcpy(to + i * 108, end->un.sun_path, len < 108 ? len : 108);
	}
	return to + 216;
}

static int format_v2(char *to, const struct torc_address *source,
		     const struct torc_address *destination)
{
	char *at = put(to, v2_begin, V2_BEGIN);
	unsigned family;

	*at++ = source ? 0x21 : 0x20;
	family = !source                             ? 0
		 : source->any.sa_family == AF_INET  ? 0x10
		 : source->any.sa_family == AF_INET6 ? 0x20
						     : 0x30;
	*at++ = (char)(source ? family | (source->type == SOCK_DGRAM ? 2 : 1) : 0);
	to[14] = 0;
	at = source ? put_ends(to + V2_HEAD, source, destination) : to + V2_HEAD;
	to[15] = (char)(at - to - V2_HEAD);
	return (int)(at - to);
}

int torc__proxy_format(char *to, int version, const struct torc_address *source,
		       const struct torc_address *destination)
{
	if ((version != 1 && version != 2) || !source != !destination)
		return -EINVAL;
	if (source && (!source->len || !destination->len ||
		       source->any.sa_family != destination->any.sa_family))
		return -EINVAL;
	return (version == 1 ? format_v1 : format_v2)(to, source, destination);
}

int torc_proxy_write(struct torc_stream *s, int version, const struct torc_address *source,
		     const struct torc_address *destination)
{
	char header[TORC__PROXY_FORMAT_MAX];
	int r = torc__proxy_format(header, version, source, destination);

	return r < 0 ? r : torc_stream_write(s, header, (size_t)r);
}
