#include <torc/http/security.h>

#include <errno.h>
#include <stdio.h>

#include "http/internal/exchange.h"

static int add(struct torc_http_security *s, const char *name, const char *value)
{
	size_t room = sizeof(s->lines) - s->len;
	int n;

	if (!*value)
		return 0;
	if (!torc__http_is_field_value(value))
		return -EINVAL;
	n = snprintf(s->lines + s->len, room, "%s: %s\r\n", name, value);
	if (n < 0 || (size_t)n >= room)
		return -ENOSPC;
	s->len += (size_t)n;
	return 0;
}

static const char *or_default(const char *value, const char *other)
{
	return value ? value : other;
}

static int add_plain(struct torc_http_security *s, const struct torc_http_security_options *o)
{
	int r = o->may_sniff ? 0 : add(s, "X-Content-Type-Options", "nosniff");

	if (!r)
		r = add(s, "X-Frame-Options", or_default(o->frame_options, "DENY"));
	if (!r)
		r = add(s, "Referrer-Policy",
			or_default(o->referrer_policy, "strict-origin-when-cross-origin"));
	if (!r)
		r = add(s, "Content-Security-Policy", or_default(o->content_security_policy, ""));
	if (!r)
		r = add(s, "Cross-Origin-Opener-Policy", or_default(o->opener_policy, ""));
	s->plain_len = s->len;
	return r;
}

static int add_hsts(struct torc_http_security *s, const struct torc_http_security_options *o)
{
	char value[64];

	if (!o->hsts_seconds)
		return 0;
	snprintf(value, sizeof(value), "max-age=%u%s", o->hsts_seconds,
		 o->hsts_subdomains ? "; includeSubDomains" : "");
	return add(s, "Strict-Transport-Security", value);
}

int torc_http_security_init(struct torc_http_security *security,
			    const struct torc_http_security_options *options)
{
	static const struct torc_http_security_options defaults;
	const struct torc_http_security_options *o = options ? options : &defaults;
	int r;

	security->len = security->plain_len = 0;
	r = add_plain(security, o);
	return r ? r : add_hsts(security, o);
}

int torc_http_security_handle(struct torc_http_exchange *x, void *arg)
{
	const struct torc_http_security *s = arg;
	/* RFC 6797, section 7.2: not on what anybody could have changed. */
	size_t len = x->stream->tls ? s->len : s->plain_len;
	int r = torc__http_keep_lines(x, s->lines, len);

	return r ? r : torc_http_next(x);
}
