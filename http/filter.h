/*
 * http/filter.h - change responses on their way out: compress, count, rewrite.
 *
 * A filter sees the head of a response before it is sent and each part of its body. A step puts it in before it runs
 * what follows; exchanges without one pay nothing.
 *
 *	struct upper {
 *		struct torc_http_filter filter;
 *		...
 *	};
 *
 *	static int begin(struct torc_http_filter *f, struct torc_http_exchange *x, struct torc_http_response_head *r)
 *	{
 *		return r->type && !strcmp(r->type, "text/plain") ? 0 : 1;	1: not this response
 *	}
 *	static int write(struct torc_http_filter *f, struct torc_http_exchange *x, const void *data, size_t len)
 *	{
 *		... in parts of a buffer:
 *		return torc_http_filter_write(f, x, buffer, len);
 *	}
 *	static int end(struct torc_http_filter *f, struct torc_http_exchange *x)
 *	{
 *		return torc_http_filter_end(f, x);
 *	}
 *
 *	static int uppercase(struct torc_http_exchange *x, void *arg)
 *	{
 *		struct upper *u = torc_http_alloc(x, sizeof(*u));
 *
 *		if (!u)
 *			return -ENOMEM;
 *		u->filter = (struct torc_http_filter){ .begin = begin, .write = write, .end = end };
 *		torc_http_add_filter(x, &u->filter);
 *		return torc_http_next(x);
 *	}
 *
 * What is added last is nearest to the handler. A filter lives until the exchange ends (torc_http_alloc), and frees what it
 * has taken with torc_http_defer: a response that fails has no end.
 */
#ifndef TORC_HTTP_FILTER_H
#define TORC_HTTP_FILTER_H

#include <torc/http/exchange.h>

TORC_BEGIN_DECLS

/* A response that is about to begin. A filter may change it, and add fields. */
struct torc_http_response_head {
	int status;
	const char *type; /* Content-Type; NULL: none */
	uint64_t length;  /* of the body; TORC_NEVER: unknown */
	/*
	 * [length] bytes of a response given as a whole; NULL: it comes in parts. A filter that puts bytes of its own here, with
	 * their length, and returns 1 has done its work.
	 */
	const void *body;
};

struct torc_http_filter {
	/*
	 * Returns 0; 1 to be left out of this response; or a negative errno: nothing is sent, and the one who responds gets it.
	 * A filter whose write changes the length sets it to TORC_NEVER.
	 */
	int (*begin)(struct torc_http_filter *f, struct torc_http_exchange *x,
		     struct torc_http_response_head *r);
	/* Part of the body, 1 byte or more. Neither is called where no body is sent: HEAD, 204, 304. */
	int (*write)(struct torc_http_filter *f, struct torc_http_exchange *x, const void *data,
		     size_t len);
	int (*end)(struct torc_http_filter *f, struct torc_http_exchange *x);
	struct torc_http_filter *next; /* the library's: the next towards the client */
	/*
	 * Hand on what was held back, and torc_http_filter_flush. NULL: it holds nothing back.
	 */
	int (*flush)(struct torc_http_filter *f, struct torc_http_exchange *x);
};

/*
 * torc_http_add_filter - put a filter in front of those that are there.
 *
 *   @f  borrowed until the exchange ends; at most once in one. Behind the beginning of the response it does nothing
 */
TORC_API void torc_http_add_filter(struct torc_http_exchange *x, struct torc_http_filter *f);

/*
 * torc_http_filter_write - hand bytes on, towards the client; torc_http_filter_end, the end; torc_http_filter_flush, that
 * somebody waits for them. From write, end and flush.
 *
 * Returns     as torc_http_write and torc_http_end, or as the next filter
 * Suspends    as torc_stream_write
 */
TORC_API TORC_MUST_CHECK int torc_http_filter_write(struct torc_http_filter *f,
						    struct torc_http_exchange *x, const void *data,
						    size_t len);
TORC_API TORC_MUST_CHECK int torc_http_filter_end(struct torc_http_filter *f,
						  struct torc_http_exchange *x);
TORC_API TORC_MUST_CHECK int torc_http_filter_flush(struct torc_http_filter *f,
						    struct torc_http_exchange *x);

TORC_END_DECLS

#endif
