#include <torc/http/cors.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "http/internal/exchange.h"

/* Longer origins there are none of: a host's name has 253 bytes. */
#define ORIGIN_BYTES 300

enum verdict { REFUSED, ALLOWED, ALLOWED_TO_ANY };

/* A request with two of them is none of a browser's. */
static bool find_origin(const struct torc_http_exchange *x, struct torc_slice *ret)
{
	struct torc_slice second;
	size_t at = 0;

	return torc_http_next_value(x, "Origin", &at, ret) && ret->len && ret->len < ORIGIN_BYTES &&
	       !torc_http_next_value(x, "Origin", &at, &second);
}

static enum verdict judge(struct torc_http_exchange *x, const struct torc_http_cors *c,
			  struct torc_slice origin)
{
	for (const char *const *o = c->origins; o && *o; o++)
		if (torc__http_slice_is(origin, *o))
			return ALLOWED;
	if (c->allow && c->allow(x, origin, c->arg))
		return ALLOWED;
	return c->any ? ALLOWED_TO_ANY : REFUSED;
}

static int add_origin(struct torc_http_exchange *x, const struct torc_http_cors *c,
		      enum verdict verdict, struct torc_slice origin)
{
	char text[ORIGIN_BYTES];
	int r;

	memcpy(text, origin.data, origin.len);
	text[origin.len] = '\0';
	r = torc_http_keep_field(x, "Access-Control-Allow-Origin",
				 verdict == ALLOWED_TO_ANY ? "*" : text);
	if (!r && c->credentials)
		r = torc_http_keep_field(x, "Access-Control-Allow-Credentials", "true");
	return r;
}

/* --- preflights --- */

/* Case counts for methods, and not for fields. */
static bool is_listed(const char *list, struct torc_slice wanted, bool case_counts)
{
	struct torc_slice left = { list, strlen(list) }, element;

	while (torc_http_next_element(&left, &element))
		if (element.len == wanted.len &&
		    (case_counts ? memcmp(element.data, wanted.data, wanted.len)
				 : strncasecmp(element.data, wanted.data, wanted.len)) == 0)
			return true;
	return false;
}

static bool are_listed(const struct torc_http_exchange *x, const char *list)
{
	struct torc_slice value, wanted;
	size_t at = 0;

	while (torc_http_next_value(x, "Access-Control-Request-Headers", &at, &value))
		while (torc_http_next_element(&value, &wanted))
			if (!is_listed(list, wanted, false))
				return false;
	return true;
}

static const char *methods_of(const struct torc_http_cors *c)
{
	return c->methods ? c->methods : "GET, HEAD, POST";
}

static bool may(const struct torc_http_exchange *x, const struct torc_http_cors *c,
		struct torc_slice method)
{
	return is_listed(methods_of(c), method, true) &&
	       are_listed(x, c->headers ? c->headers : "");
}

static int add_permissions(struct torc_http_exchange *x, const struct torc_http_cors *c)
{
	char seconds[12];
	int r = torc_http_add_field(x, "Access-Control-Allow-Methods", methods_of(c));

	if (!r && c->headers)
		r = torc_http_add_field(x, "Access-Control-Allow-Headers", c->headers);
	if (!r && c->max_age) {
		snprintf(seconds, sizeof(seconds), "%u", c->max_age);
		r = torc_http_add_field(x, "Access-Control-Max-Age", seconds);
	}
	return r;
}

static int answer_preflight(struct torc_http_exchange *x, const struct torc_http_cors *c,
			    struct torc_slice origin, struct torc_slice method)
{
	int r = torc_http_add_field(
		x, "Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
	enum verdict verdict;

	if (r < 0)
		return r;
	verdict = may(x, c, method) ? judge(x, c, origin) : REFUSED;
	if (torc_http_status(x))
		return 0;
	if (verdict != REFUSED) {
		r = add_origin(x, c, verdict, origin);
		if (!r)
			r = add_permissions(x, c);
	}
	return r ? r : torc_http_respond(x, 204, NULL, NULL, 0);
}

/* --- the step --- */

/* With "*" for everybody the answer does not depend on who asks. */
static bool varies(const struct torc_http_cors *c)
{
	return c->origins || c->allow;
}

static int answer(struct torc_http_exchange *x, const struct torc_http_cors *c, bool has_origin,
		  struct torc_slice origin)
{
	enum verdict verdict = has_origin ? judge(x, c, origin) : REFUSED;
	int r = varies(c) ? torc_http_keep_field(x, "Vary", "Origin") : 0;

	if (!r && verdict != REFUSED) {
		r = add_origin(x, c, verdict, origin);
		if (!r && c->expose)
			r = torc_http_keep_field(x, "Access-Control-Expose-Headers", c->expose);
	}
	return r ? r : torc_http_next(x);
}

int torc_http_cors_handle(struct torc_http_exchange *x, void *arg)
{
	const struct torc_http_cors *c = arg;
	struct torc_slice origin = { NULL, 0 }, method;
	bool has_origin = find_origin(x, &origin);

	if (c->any && c->credentials)
		return -EINVAL;
	if (has_origin && torc_http_method_is(x, "OPTIONS") &&
	    torc_http_field(x, "Access-Control-Request-Method", &method))
		return answer_preflight(x, c, origin, method);
	return answer(x, c, has_origin, origin);
}
