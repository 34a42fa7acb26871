/*
 * http/compress.h - compress responses, and bodies of requests that come compressed.
 *
 *	static const struct torc_http_compress_options compress = { .codings = torc_http_codings_all };
 *
 *	r = torc_router_use(router, torc_http_compress, (void *)&compress);	NULL: gzip
 *
 * The step compresses what the handlers behind it answer, where the client takes that (Accept-Encoding) and it is worth it: text and
 * the like, not pictures; 860 bytes or more, or of unknown length; not what has a Content-Encoding or a Content-Range, or
 * a status 204, 206 or 304. It adds Content-Encoding and Vary, makes the ETag a weak one, and takes Accept-Ranges away. A
 * response given as a whole and of at most TORC_HTTP_COMPRESS_WHOLE bytes is compressed in one piece, has a Content-Length, and is sent as it is if
 * it would not become shorter; all others are sent in chunks.
 *
 * What a handler writes may be held back until there is enough to be worth sending. A handler that writes and then waits says so:
 *
 *	r = torc_http_write(x, line, len);
 *	if (!r)
 *		r = torc_http_flush(x);
 *
 * Only text/event-stream is flushed at each write.
 *
 * Who must not be compressed. A response that has a secret in it (a token against CSRF, say) together with text that an attacker chooses
 * tells by its length, over TLS too, how well they match (the attack called BREACH). Give such a one
 * "Cache-Control: no-transform", which this step respects, or leave the step out there.
 *
 * Memory. While a response in chunks is under way, it takes at most TORC_HTTP_COMPRESS_BYTES beside the exchange's:
 * at the default levels and with an unknown length 300 KiB with gzip and deflate, 1.8 MiB with brotli and 1.3 MiB with
 * zstd; less for short ones. A text/event-stream, which may go on for hours, is compressed at the lowest level with a
 * small window: 160 KiB with gzip and deflate, 100 KiB with brotli, 300 KiB with zstd. It is given back at the end. A
 * response for which there is no memory when it begins is sent as it is.
 *
 * Time. The loop's other fibers run after each 16 KiB that were compressed; with brotli, which works on 64 KiB at
 * a time, after those.
 *
 * Libraries. torc_http_gzip and torc_http_deflate need zlib, torc_http_brotli needs libbrotlienc and libbrotlidec, torc_http_zstd libzstd: a program that is linked
 * statically needs those that it names. Without `codings` the step uses gzip.
 */
#ifndef TORC_HTTP_COMPRESS_H
#define TORC_HTTP_COMPRESS_H

#include <torc/http/exchange.h>

TORC_BEGIN_DECLS

/* A content coding. Private. */
struct torc_http_coding;

TORC_API extern const struct torc_http_coding torc_http_gzip, torc_http_deflate, torc_http_brotli,
	torc_http_zstd;

/* brotli, zstd, gzip, deflate, NULL */
TORC_API extern const struct torc_http_coding *const torc_http_codings_all[];

/* The most memory that compressing one response takes, whatever the level. */
#define TORC_HTTP_COMPRESS_BYTES ((size_t)4 << 20)

/* Up to this size a response that is given as a whole is compressed in one piece, into a buffer of its size. */
#define TORC_HTTP_COMPRESS_WHOLE ((size_t)256 << 10)

/* Zeroed means the defaults. */
struct torc_http_compress_options {
	/*
	 * NULL-terminated. What the client wants most is taken, of equals the first of these. Default: gzip
	 */
	const struct torc_http_coding *const *codings;
	/*
	 * How much time to take. Levels that are 0 are 4 (gzip and deflate: 1..9), 5 (brotli: 1..9) and 3 (zstd: 1..6), which suit
	 * what is made for each request anew; others out of range are the nearest in it.
	 */
	int zlib_level, brotli_level, zstd_level;
	uint64_t min_bytes; /* a shorter response is not compressed; default 860 */
	/*
	 * NULL-terminated: "text/css", "text/" and a star for all of text, a star and "+json" for all that end so. Default: text, JSON,
	 * JavaScript, XML, SVG, WebAssembly, and fonts that are not compressed themselves.
	 */
	const char *const *types;
};

/*
 * torc_http_compress - the step.
 *
 *   @arg  const struct torc_http_compress_options, borrowed; NULL: the defaults
 *
 * Returns     as torc_http_next
 *             -ENOMEM   as torc_http_alloc
 * Suspends    as torc_http_next; and the functions that respond, as torc_yield
 */
TORC_API int torc_http_compress(struct torc_http_exchange *x, void *arg);

/* Zeroed means the defaults. */
struct torc_http_decompress_options {
	uint64_t
		bytes; /* of the decoded body: more is 413; default: the server's or the route's body_bytes, which is the most in any case */
	/* Decoded bytes for each that was received, beyond the first 64 KiB: more is 413; default 100, deflate itself can reach 1032. */
	unsigned ratio;
	/*
	 * NULL-terminated: what is decoded. Default: gzip and deflate. What a client may make the others take is said below: it is the client
	 * that chooses the window.
	 */
	const struct torc_http_coding *const *codings;
};

/*
 * torc_http_decompress - a step that decodes bodies of requests with Content-Encoding gzip or deflate, or what the options say. The handlers
 * behind it read them as if they had come plain; torc_http_body_length is TORC_NEVER then. It takes 60 KiB with gzip and deflate, and
 * up to 20 MiB with brotli and 9 MiB with zstd, whose windows are as large as the client says; beyond 8 MiB with zstd: 413.
 * It needs the libraries of the codings, libbrotlidec for brotli.
 *
 * gzip may have several members, and zstd several frames; deflate may lack the frame of zlib, as some send it. A body without any bytes
 * is an empty one.
 *
 * A body in another coding, or in several, is answered with 415 and Accept-Encoding. torc_http_refuse_coded does that with all: for
 * handlers that read bodies and do not look at Content-Encoding. Forms (http/form.h, http/multipart.h) refuse what was not decoded by themselves.
 *
 * Decoding fails as torc_http_body_peek does: -EMSGSIZE is 413, -EBADMSG (garbled, cut short, or something behind the end) 400.
 *
 *   @arg  const struct torc_http_decompress_options, borrowed; NULL: the defaults
 *
 * Returns     as torc_http_next
 *             -ENOMEM
 */
TORC_API int torc_http_decompress(struct torc_http_exchange *x, void *arg);
TORC_API int torc_http_refuse_coded(struct torc_http_exchange *x, void *arg);

TORC_END_DECLS

#endif
