/*
 * chunk.h - decode a chunked message body, RFC 9112 7.1, in whatever slices it arrives.
 *
 *   1*HEXDIG [chunk-ext] CRLF  data CRLF   ... repeated
 *   1*"0"    [chunk-ext] CRLF  *( trailer-field CRLF ) CRLF
 *
 * The decoder copies no data: it hands out views into the caller's input.  Extensions and trailers
 * are checked, and not kept here; a recipient may do so (RFC 9110 6.5.1, RFC 9112 7.1.1), and a trailer
 * that is not merged into the head cannot change what that said.
 *
 *   while (!torc__http_chunk_done(&c)) {
 *           ssize_t used = torc__http_chunk_next(&c, buf, len, &data);
 *           if (used < 0)
 *                   refuse with status -used;
 *           consume data, then drop used bytes; if that was nothing, read more
 *   }
 *
 * Which answer a body gets does not depend on how it is cut into slices.
 */
#ifndef TORC_HTTP_INTERNAL_CHUNK_H
#define TORC_HTTP_INTERNAL_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <torc/core/slice.h>

/* All are sums over one whole body: small chunks with large extensions must not go on forever. */
struct torc__http_chunk_limits {
	uint64_t body_bytes;    /* data, or else 413 */
	uint32_t ext_bytes;     /* extensions, from the first byte behind the size; or else 400 */
	uint32_t trailer_bytes; /* trailer lines with their CRLFs, or else 431 */
	uint32_t trailers;      /* lines, or else 431 */
};

/* The longest field name that is not allowed in a trailer fits, and one byte more. */
#define TORC__HTTP_TRAILER_NAME_BYTES 32

struct torc__http_chunk {
	struct torc__http_chunk_limits left; /* what may still come */
	uint64_t chunk_left;                 /* bytes of the current chunk's data still to come */
	int status;                          /* 0, or the negative result that ended it */
	uint8_t state;                       /* enum state in chunk.c */
	uint8_t digits;                      /* of the chunk size */
	uint8_t name_len;                    /* stored of the trailer's name */
	char name[TORC__HTTP_TRAILER_NAME_BYTES];
};

void torc__http_chunk_init(struct torc__http_chunk *c,
			   const struct torc__http_chunk_limits *limits);

/*
 * torc__http_chunk_next - decode up to the end of the next run of data.
 *
 *   @ret_data  the run, inside @buf; empty if there is none in what was consumed
 *
 * Returns     0..len  bytes consumed, including the run; less than @len only behind a run, or at
 *                     the end of the body, where bytes of the next message may follow
 *             -400    malformed, a field that must not be in a trailer, or too large extensions
 *             -413    the data exceeds its limit; known from the chunk size, before the data
 *             -431    too many trailers, or too large
 * An error is final: it is returned again from then on.
 */
ssize_t torc__http_chunk_next(struct torc__http_chunk *c, const char *buf, size_t len,
			      struct torc_slice *ret_data);

/* Has the last CRLF been consumed? */
bool torc__http_chunk_done(const struct torc__http_chunk *c);

/* How many bytes of the last, empty line have been consumed: 0, 1 or 2. The trailers, if any, come right before it. */
unsigned torc__http_chunk_last_line(const struct torc__http_chunk *c);

#endif
