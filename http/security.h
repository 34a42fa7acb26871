/*
 * http/security.h - response fields that make browsers careful.
 *
 *	struct torc_http_security security;
 *
 *	r = torc_http_security_init(&security, &(struct torc_http_security_options){
 *		.hsts_seconds = 31536000, .content_security_policy = "default-src 'self'" });
 *	...
 *	r = torc_router_use(router, torc_http_security_handle, &security);
 *
 * By default:
 *
 *	X-Content-Type-Options: nosniff			a text is not run as a script
 *	X-Frame-Options: DENY				no other site shows this one in a frame
 *	Referrer-Policy: strict-origin-when-cross-origin	other sites are not told the path
 *
 * They are in errors' answers too. A handler that adds one of them has it twice: leave it out here.
 */
#ifndef TORC_HTTP_SECURITY_H
#define TORC_HTTP_SECURITY_H

#include <torc/http/exchange.h>

TORC_BEGIN_DECLS

/* Zeroed means the defaults; copied. "": not this field. */
struct torc_http_security_options {
	bool may_sniff;                      /* no X-Content-Type-Options */
	const char *frame_options;           /* default "DENY" */
	const char *referrer_policy;         /* default "strict-origin-when-cross-origin" */
	const char *content_security_policy; /* default: none */
	const char *opener_policy;           /* Cross-Origin-Opener-Policy; default: none */
	/*
	 * Strict-Transport-Security, on encrypted connections only: for so long browsers take no other. 0: none. Hard to take
	 * back: begin with minutes.
	 */
	uint32_t hsts_seconds;
	bool hsts_subdomains;
};

#define TORC_HTTP_SECURITY_BYTES 2048

/* Caller's memory; nothing has to be freed. The fields are private. */
struct torc_http_security {
	size_t plain_len, len; /* the fields of all responses come first */
	char lines[TORC_HTTP_SECURITY_BYTES];
};

/*
 * torc_http_security_init - put the fields together.
 *
 * Returns     0
 *             -EINVAL   control characters in a value
 *             -ENOSPC   more than TORC_HTTP_SECURITY_BYTES
 * Suspends    never
 * Thread      any
 */
TORC_API TORC_MUST_CHECK int torc_http_security_init(
	struct torc_http_security *security, const struct torc_http_security_options *options);

/*
 * torc_http_security_handle - the step: a torc_http_fn.
 *
 *   @security  a const struct torc_http_security
 *
 * Returns     as torc_http_next, or as torc_http_keep_field
 * Suspends    as torc_http_next
 * Thread      the handler's fiber
 */
TORC_API TORC_MUST_CHECK int torc_http_security_handle(struct torc_http_exchange *x,
						       void *security);

TORC_END_DECLS

#endif
