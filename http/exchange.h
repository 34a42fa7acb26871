/*
 * http/exchange.h - one HTTP request and its response.
 *
 * A handler is a plain function that runs in the fiber of its connection: it reads the request, writes
 * the response, and may suspend anywhere.
 *
 *	static int hello(struct torc_http_exchange *x, void *arg)
 *	{
 *		return torc_http_respond(x, 200, "text/plain", "Hello\n", 6);
 *	}
 *
 * What belongs around many handlers is a step of a chain, which is a function of the same type. It calls the
 * next one, or answers by itself:
 *
 *	static int timed(struct torc_http_exchange *x, void *arg)
 *	{
 *		uint64_t begin = torc_now_ns();
 *		int r = torc_http_next(x);		the response has been given
 *
 *		record(arg, torc_http_status(x), torc_now_ns() - begin);
 *		return r;
 *	}
 *
 *	static const struct torc_http_step steps[] = { { timed, &stats }, { hello, NULL } };
 *	return torc_http_run(x, steps, 2);
 *
 * All functions are for the fiber that the handler runs in, or for others of its loop while that one waits for them: one
 * at a time. All that they return by pointer is valid until the exchange ends, which is after the outermost handler
 * has returned and what was deferred has run.
 *
 * A client that leaves cancels the handler of its request (struct torc_http_options, let_half_close).
 */
#ifndef TORC_HTTP_EXCHANGE_H
#define TORC_HTTP_EXCHANGE_H

#include <torc/core/scope.h>
#include <torc/core/slice.h>

TORC_BEGIN_DECLS

struct torc_http_exchange;

/*
 * Answers one request. With no answer begun, -ENOENT becomes a 404 and any other negative result a 500; 0 is a
 * 500 too. With one begun, a negative result closes the connection, so that the client notices that it is cut short.
 */
typedef int torc_http_fn(struct torc_http_exchange *x, void *arg);

/* --- the chain --- */

/* A link of a chain: middleware, or the handler at its end. */
struct torc_http_step {
	torc_http_fn *fn;
	void *arg;
};

/*
 * torc_http_run - run a chain: the first step, whose torc_http_next runs the second, and so on.
 *
 *   @steps  [count], borrowed until it returns; 0 of them: as torc_http_next
 *
 * Returns     what the first step returns
 */
TORC_API TORC_MUST_CHECK int torc_http_run(struct torc_http_exchange *x,
					   const struct torc_http_step *steps, size_t count);

/*
 * torc_http_next - run what follows the step that is running: behind the last one of a chain, what was to follow
 * where torc_http_run was called.
 *
 * A step may call it once more, to try again: as long as nothing was answered, that does the same again.
 *
 * Returns     what that returns
 *             -ENOENT   nothing follows: 404, unless somebody answers
 */
TORC_API TORC_MUST_CHECK int torc_http_next(struct torc_http_exchange *x);

/*
 * torc_http_status - the status of the response, and how many bytes of its body were given to the stream so far (as they
 * are sent: compressed, without the framing of chunks).
 *
 * Returns     200 .. 599, 0 when none has begun
 */
TORC_API int torc_http_status(const struct torc_http_exchange *x);
TORC_API uint64_t torc_http_sent_bytes(const struct torc_http_exchange *x);

/* --- the exchange's memory --- */

/*
 * torc_http_alloc - memory until the exchange ends, aligned for anything, not cleared. Nobody frees it.
 *
 * Small amounts cost next to nothing: some 1.5 KiB is in the exchange's own chunk.
 *
 * Returns     NULL   out of memory, or beyond memory_bytes of struct torc_http_options
 */
TORC_API TORC_MUST_CHECK void *torc_http_alloc(struct torc_http_exchange *x, size_t bytes);

/*
 * torc_http_defer - call fn(arg) at the end of the exchange: the response has been given, to the last chunk, or will never be.
 * Last deferred, first run.
 *
 * It may suspend; when the client has left, or the server stops, its calls fail: shield what must not.
 *
 * Returns     0
 *             -ENOMEM   as torc_http_alloc; fn will not be called
 */
TORC_API TORC_MUST_CHECK int torc_http_defer(struct torc_http_exchange *x, void (*fn)(void *arg),
					     void *arg);

/*
 * torc_http_local_set - leave a value for later steps and the handler; torc_http_local_get finds it.
 *
 *	static const char user_key;			its address is the key: nobody else has it
 *	r = torc_http_local_set(x, &user_key, user);
 *
 *   @value  borrowed; torc_http_local_get returns NULL where none was set
 *
 * Returns     0
 *             -ENOMEM   as torc_http_alloc
 */
TORC_API TORC_MUST_CHECK int torc_http_local_set(struct torc_http_exchange *x, const void *key,
						 void *value);
TORC_API void *torc_http_local_get(const struct torc_http_exchange *x, const void *key);

/* --- the request --- */

/*
 * The request's views are valid until the exchange ends.
 *
 * The path is as it was sent, percent-encoded, and begins with '/' (or is "*", for OPTIONS, and empty for CONNECT); the
 * query is without the '?'.
 */
TORC_API struct torc_slice torc_http_method(const struct torc_http_exchange *x);
TORC_API struct torc_slice torc_http_path(const struct torc_http_exchange *x);
TORC_API struct torc_slice torc_http_query(const struct torc_http_exchange *x);
TORC_API struct torc_slice torc_http_host(const struct torc_http_exchange *x);

/* torc_http_minor - the request's version: 1 of HTTP/1.1, 0 of HTTP/1.0. */
TORC_API int torc_http_minor(const struct torc_http_exchange *x);

/* torc_http_method_is - compare, with case, as RFC 9110 section 9.1 says. */
TORC_API bool torc_http_method_is(const struct torc_http_exchange *x, const char *method);
TORC_API bool torc_http_path_is(const struct torc_http_exchange *x, const char *path);

/* torc_http_stream - the connection, to ask for its addresses (io/address.h) or its TLS; not to be read or written. */
TORC_API struct torc_stream *torc_http_stream(const struct torc_http_exchange *x);

/*
 * torc_http_remote - the client's IP address as text, without its port: "192.0.2.1", "2001:db8::1". One that is mapped into IPv6 is shown
 * as IPv4. Asked for once per connection. Behind a proxy it is the proxy's.
 *
 * Returns     empty   a Unix socket, or the client had gone before the first call
 */
TORC_API struct torc_slice torc_http_remote(const struct torc_http_exchange *x);

/* torc_http_is_draining - has the server begun to end, or another process taken over? See http/health.h. */
TORC_API bool torc_http_is_draining(const struct torc_http_exchange *x);

/*
 * torc_http_field - the value of a header field, the first of several with that name.
 *
 *   @name  in any case
 *
 * Returns     true   *ret_value is set; it may be empty
 *             false  there is none
 */
TORC_API bool torc_http_field(const struct torc_http_exchange *x, const char *name,
			      struct torc_slice *ret_value);

/*
 * torc_http_next_value - the values of all fields with a name, one after the other; torc_http_next_field, all fields.
 *
 *	size_t at = 0;
 *	while (torc_http_next_value(x, "Accept", &at, &value))
 *		while (torc_http_next_element(&value, &element))
 *			...
 *
 *   @at  0 at first; theirs from then on
 *
 * Returns     true   the next one; false: there are no more
 */
TORC_API bool torc_http_next_value(const struct torc_http_exchange *x, const char *name, size_t *at,
				   struct torc_slice *ret_value);
TORC_API bool torc_http_next_field(const struct torc_http_exchange *x, size_t *at,
				   struct torc_slice *ret_name, struct torc_slice *ret_value);

/*
 * torc_http_next_element - take the next element off a list with commas (RFC 9110, section 5.6.1), without the
 * space around it. Empty ones are skipped, commas in quoted strings do not count.
 *
 * Returns     true   *ret_element is set, *list is what follows
 *             false  the list is used up
 */
TORC_API bool torc_http_next_element(struct torc_slice *list, struct torc_slice *ret_element);

/* torc_http_body_length - the length the request declares; TORC_NEVER when it comes in chunks. */
TORC_API uint64_t torc_http_body_length(const struct torc_http_exchange *x);

/*
 * torc_http_limit_body - put up with less than the server's body_bytes, before the body is read.
 *
 * Returns     0
 *             -EMSGSIZE   the request declares more: returned without an answer, it becomes 413
 */
TORC_API TORC_MUST_CHECK int torc_http_limit_body(struct torc_http_exchange *x, uint64_t bytes);

/*
 * torc_http_body_peek - see the next part of the request's body.
 *
 *   @ret_view  valid until the next call about the body
 *
 * Returns     1            there are bytes
 *             0            the body is complete
 *             -EMSGSIZE    it is longer than body_bytes
 *             -EBADMSG     its chunks are malformed
 *             -EPIPE       the peer left in the middle
 *             -ETIMEDOUT   it did not come fast enough (or the caller's scope)
 *             -ECANCELED, -ECONNRESET, ...   as torc_stream_peek
 * After -EMSGSIZE, -EBADMSG and a body that was too slow, a handler that returns the error without an
 * answer makes it 413, 400 or 408.
 *
 * Suspends    if nothing is there
 */
TORC_API TORC_MUST_CHECK int torc_http_body_peek(struct torc_http_exchange *x,
						 struct torc_slice *ret_view);
TORC_API void torc_http_body_consume(struct torc_http_exchange *x, size_t n);

/*
 * torc_http_body_read - the whole body, in one piece, with a NUL behind it that does not count. Again: the same.
 *
 *   @most      0 .. 1 MiB: of a longer one nothing is kept
 *   @ret_body  valid until the exchange ends
 *
 * Returns     0
 *             -EMSGSIZE   longer than `most`; returned without an answer, it becomes 413
 *             -EINVAL     most is beyond 1 MiB, or a part of the body was read otherwise
 *             -ENOMEM
 *             or as torc_http_body_peek
 * Suspends    until all of it is there
 */
TORC_API TORC_MUST_CHECK int torc_http_body_read(struct torc_http_exchange *x, size_t most,
						 struct torc_slice *ret_body);

/* The most that torc_http_body_read keeps. */
#define TORC_HTTP_BODY_READ_MAX (((size_t)1 << 20) - 1)

/*
 * torc_http_trailer - the value of a field behind a body in chunks, the first of several with that name; once the body has
 * been read to its end. torc_http_next_trailer shows all, as torc_http_next_field.
 *
 * Returns     false   there is none, or the end has not been reached
 */
TORC_API bool torc_http_trailer(const struct torc_http_exchange *x, const char *name,
				struct torc_slice *ret_value);
TORC_API bool torc_http_next_trailer(const struct torc_http_exchange *x, size_t *at,
				     struct torc_slice *ret_name, struct torc_slice *ret_value);

/* --- the response --- */

/* A field of a response: literals, or memory that is borrowed during the call. */
struct torc_http_pair {
	const char *name;
	const char *value;
};

/* The bytes that the added fields may take, with 4 bytes for each. */
#define TORC_HTTP_FIELDS_BYTES 7168

/*
 * torc_http_add_field - add a header field to the response; before it begins.
 *
 * Returns     0
 *             -EINVAL   a name that is no token, or one of Connection, Content-Length, Date and
 *                       Transfer-Encoding, which are the library's; control characters in the value
 *             -ENOSPC   more than TORC_HTTP_FIELDS_BYTES of them
 *             -ENOMEM   as torc_http_alloc
 *             -EALREADY the response has begun
 */
TORC_API TORC_MUST_CHECK int torc_http_add_field(struct torc_http_exchange *x, const char *name,
						 const char *value);

/*
 * torc_http_keep_field - the same, for middleware: the field is also in the error's answer that a handler's failure becomes
 * (torc_http_respond_error), which otherwise has none of those that were added.
 *
 * Returns     as torc_http_add_field
 */
TORC_API TORC_MUST_CHECK int torc_http_keep_field(struct torc_http_exchange *x, const char *name,
						  const char *value);

/*
 * torc_http_respond - the whole response in one call.
 *
 *   @status  200 .. 599
 *   @type    Content-Type; NULL: none
 *   @body    [len] bytes, copied or sent before the call returns
 *
 * Returns     0
 *             -EALREADY   a response has begun
 *             -EINVAL     status out of range, or CR, LF or NUL in type
 *             -ETIMEDOUT, -ECANCELED, -EPIPE, -ECONNRESET, ...   as torc_stream_write
 *             what a filter returns (http/filter.h)
 * Suspends    as torc_stream_write
 */
TORC_API TORC_MUST_CHECK int torc_http_respond(struct torc_http_exchange *x, int status,
					       const char *type, const void *body, size_t len);

/* torc_http_respond_text - the same with a string; torc_http_respond_json, with bytes of JSON, which UTF-8 is part of. */
TORC_API TORC_MUST_CHECK int torc_http_respond_text(struct torc_http_exchange *x, int status,
						    const char *text);
TORC_API TORC_MUST_CHECK int torc_http_respond_json(struct torc_http_exchange *x, int status,
						    const char *json, size_t len);

/*
 * torc_http_redirect - send the client elsewhere.
 *
 *   @status    301, 302, 303, 307 or 308
 *   @location  an URL or a path, percent-encoded. From what a client has sent, take care that it does not begin with "//": that
 *              is another server
 *
 * Returns     as torc_http_respond and torc_http_add_field
 *             -EINVAL   another status, or a space, control or byte beyond ASCII in it
 */
TORC_API TORC_MUST_CHECK int torc_http_redirect(struct torc_http_exchange *x, int status,
						const char *location);

/*
 * torc_http_respond_error - the answer that a handler's result gets when nobody else answers: 404 for -ENOENT, 413, 400 or 408 for
 * what torc_http_body_peek failed with, else 500. Fields that were added are left out, but for those of torc_http_keep_field. For steps that want to see the answer, or to add to it.
 *
 *   @result  what torc_http_next returned, of a request that was not answered
 *
 * Returns     as torc_http_respond
 *             result   nobody is there to be answered
 */
TORC_API TORC_MUST_CHECK int torc_http_respond_error(struct torc_http_exchange *x, int result);

/*
 * torc_http_inform - an interim response, such as 103 Early Hints (RFC 8297), before the response begins.
 *
 *   @status  102 .. 199, but for 100, which the library sends by itself, and 101
 *   @fields  [count]; these fields go with it, and not with the response
 *
 * Returns     0           also where the client speaks HTTP/1.0, and none can be sent
 *             -EALREADY   the response has begun
 *             -EINVAL     status out of range, or a field that torc_http_add_field would refuse
 *             -ENOSPC     more than TORC_HTTP_FIELDS_BYTES
 *             or as torc_stream_write
 * Suspends    as torc_stream_write
 */
TORC_API TORC_MUST_CHECK int torc_http_inform(struct torc_http_exchange *x, int status,
					      const struct torc_http_pair *fields, size_t count);

/*
 * torc_http_begin - begin a response whose body follows in parts with torc_http_write.
 *
 *   @length  of the body; TORC_NEVER: not known, sent in chunks (to HTTP/1.0: until the connection closes)
 *
 * torc_http_write returns -EMSGSIZE for more than `length`. The response ends with torc_http_end, or when the outermost
 * handler returns; when `length` was not reached, the connection is closed.
 */
TORC_API TORC_MUST_CHECK int torc_http_begin(struct torc_http_exchange *x, int status,
					     const char *type, uint64_t length);
TORC_API TORC_MUST_CHECK int torc_http_write(struct torc_http_exchange *x, const void *data,
					     size_t len);

/*
 * torc_http_flush - let the client see what was written so far, before the handler waits for something else.
 *
 * Without filters it does nothing: what is written goes out at the end of the turn anyway. A filter may hold bytes back to
 * compress them better, until this or the end.
 *
 * Returns     0
 *             -EINVAL   no response has begun
 *             -EPIPE    it is cut short: a write has failed
 *             or as torc_http_write
 * Suspends    as torc_http_write
 */
TORC_API TORC_MUST_CHECK int torc_http_flush(struct torc_http_exchange *x);

/*
 * torc_http_end - end a response that torc_http_begin began. Once is enough, and not needed.
 *
 * Returns     0
 *             -EINVAL   none has begun
 *             -EPIPE    it is cut short: less than its length was written, or a write has failed
 *             or as torc_http_write
 */
TORC_API TORC_MUST_CHECK int torc_http_end(struct torc_http_exchange *x);

/*
 * torc_http_add_trailer - a field behind the body, such as a checksum of it: between torc_http_begin and the end.
 *
 *	r = torc_http_add_field(x, "Trailer", "X-Sum");		its name is announced
 *	r = torc_http_begin(x, 200, type, TORC_NEVER);
 *	...
 *	r = torc_http_add_trailer(x, "X-Sum", sum);
 *
 * Returns     0
 *             -EINVAL     as torc_http_add_field; or not announced by a Trailer field; or Host, Set-Cookie, Trailer or
 *                         Authorization, which recipients must not find there
 *             -ENOTSUP    the response is not in chunks, because its length is known or the client speaks HTTP/1.0: it is dropped
 *             -EALREADY   the response has ended
 *             -ENOSPC     more than TORC_HTTP_FIELDS_BYTES of them
 *             -ENOMEM
 */
TORC_API TORC_MUST_CHECK int torc_http_add_trailer(struct torc_http_exchange *x, const char *name,
						   const char *value);

TORC_END_DECLS

#endif
