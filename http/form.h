/*
 * http/form.h - names and values that clients send: the query of a target, and forms in a body of type
 * application/x-www-form-urlencoded.
 *
 *	struct torc_slice page;
 *	int r = torc_http_query_value(x, "page", &page);
 *	if (r < 0)
 *		return torc_http_respond_text(x, 400, "a query that makes no sense");
 *	if (r)
 *		...
 *
 *	struct torc_http_form form;
 *	r = torc_http_form_read(x, 65536, &form);
 *	if (r < 0)
 *		return r;			413, 400 or 408 by itself
 *	if (torc_http_form_value(&form, "name", &name)) ...
 */
#ifndef TORC_HTTP_FORM_H
#define TORC_HTTP_FORM_H

#include <torc/http/exchange.h>

TORC_BEGIN_DECLS

/*
 * torc_http_next_pair - take the next name=value off a query or form, as it was sent. Empty ones are skipped.
 *
 *	struct torc_slice rest = torc_http_query(x), name, value;
 *	while (torc_http_next_pair(&rest, &name, &value))
 *		...
 *
 * Returns     true   *ret_value is empty where there is no '='
 *             false  *rest is used up
 */
TORC_API bool torc_http_next_pair(struct torc_slice *rest, struct torc_slice *ret_name,
				  struct torc_slice *ret_value);

/*
 * torc_http_decode - decode %XX and '+', which is a space, into the exchange's memory; what has neither is not copied.
 *
 * The result may contain any byte, NUL too.
 *
 * Returns     0
 *             -EBADMSG   a '%' without two hexadecimal digits
 *             -ENOMEM    as torc_http_alloc
 */
TORC_API TORC_MUST_CHECK int torc_http_decode(struct torc_http_exchange *x, struct torc_slice text,
					      struct torc_slice *ret_text);

/*
 * torc_http_query_value - the decoded value of a name in the query, the first of several.
 *
 *   @name  decoded
 *
 * Returns     1   found
 *             0   there is none
 *             -EBADMSG, -ENOMEM   as torc_http_decode, of it or of a name before it
 */
TORC_API TORC_MUST_CHECK int torc_http_query_value(struct torc_http_exchange *x, const char *name,
						   struct torc_slice *ret_value);

/* The most names in a form. */
#define TORC_HTTP_FORM_PAIRS_MAX 1000

/* A form that was read; in the exchange's memory. */
struct torc_http_form {
	size_t count;
	const struct torc_http_form_pair {
		struct torc_slice name, value; /* decoded */
	} * pairs;                             /* [count], in the order of the body */
};

/*
 * torc_http_form_read - read and decode the body of a request as a form.
 *
 *   @most  0 .. 1 MiB: as torc_http_body_read
 *
 * Returns     0
 *             -EPROTOTYPE   its Content-Type is another one, or missing, or it is compressed (http/compress.h): 415
 *             -EMSGSIZE     the body is longer than `most`, or it has more than TORC_HTTP_FORM_PAIRS_MAX names: 413
 *             -EBADMSG      a malformed encoding: 400
 *             -ENOMEM, and as torc_http_body_read
 * These become those answers, when the handler returns them and has not answered.
 *
 * Suspends    until all of the body is there
 */
TORC_API TORC_MUST_CHECK int torc_http_form_read(struct torc_http_exchange *x, size_t most,
						 struct torc_http_form *ret_form);

/* torc_http_form_value - the value of a name, the first of several; false: there is none. */
TORC_API bool torc_http_form_value(const struct torc_http_form *form, const char *name,
				   struct torc_slice *ret_value);

TORC_END_DECLS

#endif
