/*
 * http/internal/exchange.h - one request and its response.
 *
 * Lives in a chunk of the loop's pool from the request's first byte to the response's last: an idle
 * connection has none. The request's head is viewed where it was received; when a body follows, which
 * will overwrite that, the head is copied first.
 */
#ifndef TORC_HTTP_INTERNAL_EXCHANGE_H
#define TORC_HTTP_INTERNAL_EXCHANGE_H

#include <torc/core/scope.h>
#include <torc/http/server.h>

#include "http/internal/chunk.h"
#include "http/internal/parse.h"
#include "io/internal/buffers.h"

#define TORC__HTTP_EXTRA_BYTES 2048

/* Bytes of a body that the handler did not want which are read to keep the connection. */
#define TORC__HTTP_SKIP_BYTES 65536u

/* The server's options with the defaults filled in. */
struct torc__http_config {
	struct torc_http_options options;
	struct torc__http_limits limits;
};

struct torc_http_exchange {
	struct torc_stream *stream;
	const struct torc__http_config *config;
	struct torc__http_head head;
	uint32_t capacity; /* of the chunk this lives in */

	/* request body */
	char *head_copy;
	uint32_t head_copy_capacity;
	struct torc__http_chunk chunk;
	struct torc_slice run; /* decoded bytes that have not been consumed */
	size_t run_used;       /* bytes of the stream that go with the run */
	uint64_t body_left;    /* with a length */
	uint64_t body_received;
	uint64_t body_waited_ns; /* for bytes of it */
	int body_error;          /* sticks */
	bool body_done;
	bool continue_due; /* the client waits for 100 Continue */

	/* response */
	bool responded;
	bool close; /* after this response */
	bool in_chunks;
	bool without_body; /* HEAD, 204, 304 */
	bool incomplete;   /* the response was cut short: only closing tells the client */
	uint64_t out_left;
	uint32_t extra_len;
	char extra[TORC__HTTP_EXTRA_BYTES]; /* added fields, as they are sent */

	struct torc__http_field fields[]; /* [config->limits.fields] */
};

/* The phrase of a status: RFC 9110, section 15. */
const char *torc__http_reason(int status);

/* The IMF-fixdate of a time (RFC 9110, section 5.6.7): 29 characters, no terminator. */
void torc__http_date(char out[29], int64_t unix_seconds);

/* "Date: ...\r\n" of this second, cached by the loop: 37 bytes. */
const char *torc__http_date_line(void);

/* The answer to a request that was not understood: status and phrase, then the connection closes. */
int torc__http_refuse(struct torc_stream *s, const struct torc__http_config *config, int status);

/* End the response: the last chunk. */
int torc__http_finish(struct torc_http_exchange *x);

/* Skip what the handler left of the body. Returns 0, or < 0 when the connection cannot go on. */
int torc__http_skip_body(struct torc_http_exchange *x);

#endif
