/*
 * http/internal/exchange.h - one request and its response.
 *
 * Lives in a chunk of the loop's pool from the request's first byte to the response's last: an idle
 * connection has none. The request's head is viewed where it was received; when a body follows, which
 * will overwrite that, the head is copied first.
 */
#ifndef TORC_HTTP_INTERNAL_EXCHANGE_H
#define TORC_HTTP_INTERNAL_EXCHANGE_H

#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#include <torc/core/scope.h>
#include <torc/http/filter.h>
#include <torc/http/server.h>

#include "http/internal/chunk.h"
#include "http/internal/load.h"
#include "http/internal/parse.h"
#include "http/internal/scan.h"
#include "io/internal/stream.h"

/* Added fields: room that each exchange has; more is taken from its memory. */
#define TORC__HTTP_EXTRA_BYTES 1024u

/* The slowest body that is put up with, besides body_ns: nanoseconds per byte, 1 KiB/s. Of responses to a client too. */
#define TORC__HTTP_BODY_NS_PER_BYTE (1000000000u / 1024)

/* Bytes of a body that the handler did not want which are read to keep the connection. */
#define TORC__HTTP_SKIP_BYTES 65536u

/* The server's options with the defaults filled in. */
struct torc__http_config {
	struct torc_http_options options;
	struct torc__http_limits limits;
	struct torc__http_load *loads; /* [torc_loop_count()] */
	char retry_after[12];
};

/* Where a client is, asked for once per connection. */
struct torc__http_peer {
	bool known;
	uint8_t ip_len; /* 4, 16, or 0: it has no IP address, or has gone */
	uint8_t text_len;
	uint8_t ip[16];
	char text[INET6_ADDRSTRLEN];
};

/* A connection, in the frame of its fiber. */
struct torc__http_connection {
	struct torc_stream *stream;
	const struct torc__http_config *config;
	struct torc_scope scope;      /* cancelled when the peer leaves */
	struct torc__http_load *load; /* of its loop */
	uint64_t requests;            /* that it has sent */
	uint64_t write_left_ns;       /* for the peer to take what is written: response.c */
	struct torc__http_peer peer;
};

/* What torc_http_next runs: steps [at, end), then what is behind. On the stack of who runs a chain. */
struct torc__http_chain {
	const struct torc_http_step *at, *end;
	const struct torc__http_chain *outer;
	const struct torc__http_match *mount; /* they are mounted there; NULL: nowhere */
};

/* Bytes that grow in the exchange's memory. */
struct torc__http_text {
	char *data;
	uint32_t len, capacity;
};

/* What a request's body is read through: the ends of torc_http_body_peek and _consume. */
struct torc__http_source {
	int (*peek)(struct torc__http_source *s, struct torc_http_exchange *x,
		    struct torc_slice *ret_view);
	void (*consume)(struct torc__http_source *s, struct torc_http_exchange *x, size_t n);
};

struct torc__http_block;
struct torc__http_deferred;
struct torc__http_value;
struct torc__http_match;

struct torc_http_exchange {
	struct torc_stream *stream;
	const struct torc__http_config *config;
	struct torc__http_connection *connection;
	struct torc__http_chain chain;

	/* memory */
	char *room; /* [room_left], of the newest chunk */
	size_t room_left;
	struct torc__http_block *blocks; /* further chunks */
	size_t block_bytes;              /* of them */
	struct torc__http_deferred *deferred;
	struct torc__http_value *values;

	/* routing */
	struct torc__http_match *match; /* the innermost that there was */
	const struct torc__http_match
		*mount; /* what is running is mounted there; NULL: it is not */
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
	int rejected; /* what a reading of the request has failed with, and the client is to be told */
	uint64_t body_limit;
	uint64_t body_data;               /* decoded bytes that were consumed */
	struct torc__http_source *source; /* NULL: it is read as it comes */
	struct torc__http_text whole;     /* torc_http_body_read */
	struct torc__http_text trailers;  /* lines, as they were sent */
	bool body_done;
	bool continue_due; /* the client waits for 100 Continue */
	bool late;         /* the handler has used up its time */

	/* response */
	bool responded;
	bool close; /* after this response */
	bool in_chunks;
	bool without_body; /* HEAD, 204, 304 */
	bool incomplete;   /* the response was cut short: only closing tells the client */
	bool ended;        /* nothing may be written any more */
	bool unwatched;    /* while it is written */
	int status;
	uint64_t write_began_ns;
	uint64_t out_left;
	uint64_t sent_bytes;
	uint64_t promised_left; /* with filters: of what the handler has announced */
	struct torc_http_filter *filters;
	struct torc_scope *leaves; /* to be cancelled when the peer leaves; NULL: it need not */
	struct torc__http_text trailing; /* trailers, as they will be sent */
	struct torc__http_text extra;    /* added fields, as they are sent */
	uint32_t extra_kept; /* bytes of them, at the front, that an error's answer has too */
	char extra_room[TORC__HTTP_EXTRA_BYTES];

	struct torc__http_field fields[]; /* [config->limits.fields] */
};

/*
 * Where what is running is mounted: the decoded path up to torc_http_rest, without a slash at its end. Empty: nowhere, or at "/".
 */
struct torc_slice torc__http_prefix(const struct torc_http_exchange *x);

/* The phrase of a status: RFC 9110, section 15. */
const char *torc__http_reason(int status);

/* The IMF-fixdate of a time (RFC 9110, section 5.6.7): 29 characters, no terminator. */
void torc__http_date(char out[29], int64_t unix_seconds);

/* "Date: ...\r\n" of this second, cached by the loop: 37 bytes. */
const char *torc__http_date_line(void);

/* The answer to a request that was not understood: status and phrase, then the connection closes. */
int torc__http_refuse(struct torc_stream *s, const struct torc__http_config *config, int status);

/* Before the handler: an empty chain, memory. */
void torc__http_memory_init(struct torc_http_exchange *x);

/* At the end: run what was deferred; then, when nobody looks at it any more, free what was allocated. */
void torc__http_run_deferred(struct torc_http_exchange *x);
void torc__http_memory_done(struct torc_http_exchange *x);

/*
 * Room for `more` bytes behind a text, which may move; with all texts of one kind together at most `most` bytes. 0, -ENOSPC or
 * -ENOMEM.
 */
int torc__http_text_grow(struct torc_http_exchange *x, struct torc__http_text *text, size_t more,
			 size_t most);

/* Add lines, with their ends, that torc_http_keep_field would have made. 0, -EALREADY, -ENOSPC or -ENOMEM. */
int torc__http_keep_lines(struct torc_http_exchange *x, const char *lines, size_t len);

/* Where the client is: asked for by the first call on a connection, and remembered. */
const struct torc__http_peer *torc__http_peer(const struct torc_http_exchange *x);

/* Connections that were served, and have ended: of this process, by loop. Each is written by its own loop, and read by any. */
struct torc__http_counts {
	_Alignas(64) uint64_t begun;
	uint64_t ended;
};

#define TORC__HTTP_LOOPS_MAX 256

extern struct torc__http_counts torc__http_counts[TORC__HTTP_LOOPS_MAX];

/* A counter that one loop writes and others read: who reads `ended` first, with acquire, then `begun`, has no more ended than begun. */
static inline void torc__http_count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELEASE);
}

/* The body as it comes, and an error of it, which sticks. */
int torc__http_raw_peek(struct torc_http_exchange *x, struct torc_slice *ret_view);
void torc__http_raw_consume(struct torc_http_exchange *x, size_t n);
int torc__http_fail_body(struct torc_http_exchange *x, int error);

/* Is it in a coding that nobody undoes? */
bool torc__http_body_is_coded(const struct torc_http_exchange *x);

/* The next of some trailers, which the decoder of chunks has found in order: name ":" OWS value OWS CRLF each. */
bool torc__http_next_line(const char *lines, size_t len, size_t *at, struct torc_slice *ret_name,
			  struct torc_slice *ret_value);

/* Skip what the handler left of the body. Returns 0, or < 0 when the connection cannot go on. */
int torc__http_skip_body(struct torc_http_exchange *x);

/* RFC 9110, section 5.6.2; a string, or so many bytes. */
bool torc__http_is_token(const char *name);
bool torc__http_is_field_value(const char *value);

/* %XX and, in forms, '+'. Returns the decoded length, at most `len`, or -EBADMSG. `to` may be `from`. */
ssize_t torc__http_percent_decode(const char *from, size_t len, char *to, bool form);

static inline bool torc__http_slice_is(struct torc_slice s, const char *text)
{
	return strlen(text) == s.len && !memcmp(text, s.data, s.len);
}

/* In any case: tokens that are names (RFC 9110, section 5.6.2). */
static inline bool torc__http_slice_is_word(struct torc_slice s, const char *text)
{
	return strlen(text) == s.len && !strncasecmp(text, s.data, s.len);
}

/* Without the optional white space at its ends: RFC 9110, section 5.6.3. */
static inline struct torc_slice torc__http_trim(const char *begin, const char *end)
{
	while (begin < end && (*begin == ' ' || *begin == '\t'))
		begin++;
	while (begin < end && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	return (struct torc_slice){ begin, (size_t)(end - begin) };
}

/* The request makes no sense: when the handler returns the error without an answer, it becomes 4xx. */
static inline int torc__http_reject(struct torc_http_exchange *x, int error)
{
	x->rejected = error;
	return error;
}

/*
 * Is what the handler writes sent as it is? Then a response of known length may be sent by other means than torc_http_write:
 * torc__http_sent says that so many bytes of its body were.
 */
static inline bool torc__http_is_plain(const struct torc_http_exchange *x)
{
	return !x->filters && !x->in_chunks;
}

static inline void torc__http_sent(struct torc_http_exchange *x, uint64_t bytes)
{
	x->sent_bytes += bytes;
	if (x->out_left != TORC_NEVER)
		x->out_left -= bytes;
}

/*
 * While the handler waits for something else, the end of the connection cancels it. Not while it waits for the client: it
 * will see that end by itself, and who has half-closed may be taking what it is sent.
 */
static inline void torc__http_watch(struct torc_http_exchange *x)
{
	if (x->leaves)
		torc__stream_watch(x->stream, x->leaves, x->config->options.let_half_close);
}

static inline void torc__http_unwatch(struct torc_http_exchange *x)
{
	torc__stream_unwatch(x->stream);
}

#endif
