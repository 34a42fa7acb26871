/*
 * http/client_place.c - URLs that were understood: where each leads, worked out once for all requests that name it in the same words.
 *
 * A few hundred nanoseconds of a request would go into its URL otherwise, and programs ask the same ones again and again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/internal/client.h"

/* Eight bytes at a time: it is only to tell URLs of one program apart. */
static uint32_t hash_of(const char *text, size_t len)
{
	uint64_t hash = len, word;

	for (; len >= 8; text += 8, len -= 8) {
		memcpy(&word, text, 8);
		hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
		hash ^= hash >> 29;
	}
	word = 0;
	memcpy(&word, text, len);
	hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
	return (uint32_t)(hash >> 32);
}

static int set_origin(struct torc__http_place *place)
{
	size_t len = (size_t)sprintf(place->origin, "%s://", place->secure ? "https" : "http");
	int r = torc_url_host(&place->parts, place->origin + len, sizeof(place->origin) - len);

	place->host = place->origin + len;
	/* All that goes through a proxy without a tunnel goes to the proxy. */
	place->key = place->proxy && !place->secure ? "proxy" : place->origin;
	place->key_hash = torc__http_origin_hash(place->key);
	return r < 0 ? r : 0;
}

/* Besides path and query: "http://", and the host twice. */
#define LINE_BYTES (sizeof(" http:// HTTP/1.1\r\nHost: \r\n") + 2 * (size_t)TORC_URL_AUTHORITY_MAX)

/* RFC 9112, section 3.2: origin-form, or absolute-form for a proxy. */
static void write_line(struct torc__http_place *place, char *line)
{
	const struct torc_url *u = &place->parts;
	bool whole = place->proxy && !place->secure;
	size_t len = (size_t)sprintf(line, " %s%s%.*s%s%.*s HTTP/1.1\r\n", whole ? "http://" : "",
				     whole ? place->host : "", (int)u->path.len, u->path.data,
				     u->has_query ? "?" : "", (int)u->query.len, u->query.data);

	place->line = line;
	place->line_len = len;
	place->line_host_len = len + (size_t)sprintf(line + len, "Host: %s\r\n", place->host);
}

static int fill_in(struct torc__http_place *place, const struct torc_http_client *client,
		   const char *url, size_t len)
{
	struct torc_url *u = &place->parts;
	int r;

	memcpy(place->url, url, len + 1);
	r = torc_url_parse(place->url, len, u);
	if (r < 0)
		return r;
	place->secure = torc__http_slice_is(u->scheme, "https");
	if (!place->secure && !torc__http_slice_is(u->scheme, "http"))
		return -EPROTONOSUPPORT;
	place->proxy = torc__http_proxy_for(client, u);
	return set_origin(place);
}

static int make(struct torc__http_pool *pool, const char *text, size_t len, uint32_t hash,
		struct torc__http_place **ret)
{
	char url[TORC_URL_MAX + 1];
	int n = torc_url_normalize(text, len, url, sizeof(url)), r;
	struct torc__http_place *place;

	if (n < 0)
		return n;
	place = malloc(sizeof(*place) + (size_t)n + 1 + len + LINE_BYTES + (size_t)n);
	if (!place)
		return -ENOMEM;
	place->users = 1;
	place->hash = hash;
	place->asked = place->url + n + 1;
	place->asked_len = len;
	memcpy(place->asked, text, len);
	r = fill_in(place, pool->client, url, (size_t)n);
	if (r < 0) {
		free(place);
		return r;
	}
	write_line(place, place->asked + len);
	*ret = place;
	return 0;
}

void torc__http_place_put(struct torc__http_place *place)
{
	if (place && !--place->users)
		free(place);
}

int torc__http_place_get(struct torc__http_pool *pool, const char *text, size_t len,
			 struct torc__http_place **ret)
{
	uint32_t hash = hash_of(text, len);
	struct torc__http_place **slot = &pool->places[hash % TORC__HTTP_PLACES];
	struct torc__http_place *place = *slot;
	int r;

	if (place && place->hash == hash && place->asked_len == len &&
	    !memcmp(place->asked, text, len)) {
		place->users++;
		*ret = place;
		return 0;
	}
	r = make(pool, text, len, hash, ret);
	if (r < 0)
		return r;
	torc__http_place_put(*slot);
	*slot = *ret;
	(*ret)->users++;
	return 0;
}
