/*
 * http/compress.c - a filter that compresses.
 *
 *	begin   is this response one to be compressed?  A whole one is compressed here, and then the filter has done its work
 *	write   into `out`, which goes on when it is full
 *	flush   all that there is goes on
 *	end     likewise, with what ends the coding
 */
#include <torc/http/compress.h>

#include <errno.h>
#include <strings.h>

#include <torc/core/fiber.h>
#include <torc/http/filter.h>

#include "http/internal/coding.h"

/* What is compressed before others run: some tenths of a millisecond at the default levels. */
#define PIECE_BYTES ((size_t)16 << 10)

/* What is sent at a time. */
#define OUT_BYTES ((size_t)16 << 10)

/* Less room is not worth a call: zlib would mark a flush twice in less than 7 bytes. */
#define ROOM_MIN 64

#define MIN_BYTES 860

/* Streams of events go on for long, and there may be many: they get the window that such a length needs, and the lowest level. */
#define EVENTS_LENGTH 10000
#define EVENTS_LEVEL  1

static const char *const default_types[] = {
	"text/*",
	"*+json",
	"*+xml",
	"*+text",
	"application/json",
	"application/x-ndjson",
	"application/javascript",
	"application/x-javascript",
	"application/xml",
	"application/graphql",
	"application/wasm",
	"application/rtf",
	"application/vnd.ms-fontobject",
	"font/ttf",
	"font/otf",
	"image/bmp",
	"image/x-icon",
	NULL,
};

static const struct torc_http_coding *const default_codings[] = { &torc_http_gzip, NULL };

struct compressor {
	struct torc_http_filter filter;
	struct torc_http_exchange *x;
	const struct torc_http_compress_options *options;
	struct torc__http_encoder encoder;
	char *out; /* [capacity], used bytes of it in use */
	size_t used, capacity;
	size_t since;    /* bytes that were compressed since others ran */
	bool each_write; /* is to be flushed */
	bool marked;     /* the fields say that it is compressed */
	char *chunk;     /* what `out` is, or was, part of */
	uint32_t chunk_capacity;
};

/* --- is it to be compressed? --- */

static bool matches(const char *type, size_t len, const char *pattern)
{
	size_t n = strlen(pattern);

	if (*pattern == '*')
		return len >= n - 1 && !strncasecmp(type + len - (n - 1), pattern + 1, n - 1);
	if (n && pattern[n - 1] == '*')
		return len >= n - 1 && !strncasecmp(type, pattern, n - 1);
	return len == n && !strncasecmp(type, pattern, n);
}

static bool is_type(const char *type, const char *const *types)
{
	size_t len = strcspn(type, "; \t");

	for (; *types; types++)
		if (matches(type, len, *types))
			return true;
	return false;
}

/* May it be changed at all, and is it of a kind that shrinks? */
static bool is_eligible(const struct compressor *c, const struct torc_http_response_head *r)
{
	const char *const *types = c->options->types ? c->options->types : default_types;
	struct torc_slice value;
	size_t coded = 0, ranged = 0;

	if (r->status == 204 || r->status == 206 || !r->type || !is_type(r->type, types))
		return false;
	return !torc__http_added(c->x, "Content-Encoding", &coded, &value) &&
	       !torc__http_added(c->x, "Content-Range", &ranged, &value) &&
	       !torc__http_added_has(c->x, "Cache-Control", "no-transform");
}

static int level_of(const struct torc_http_compress_options *o, const char *coding)
{
	if (!strcmp(coding, "br"))
		return o->brotli_level;
	return strcmp(coding, "zstd") != 0 ? o->zlib_level : o->zstd_level;
}

static bool is_small(const struct compressor *c, uint64_t length)
{
	uint64_t min = c->options->min_bytes ? c->options->min_bytes : MIN_BYTES;

	return length != TORC_NEVER && length < min;
}

/* --- compress --- */

static int pass_on(struct compressor *c)
{
	int r = torc_http_filter_write(&c->filter, c->x, c->out, c->used);

	c->used = 0;
	return r;
}

/* Into `out`. 0; 1: that is full; or -ENOMEM. */
static int encode(struct compressor *c, struct torc__http_piece *p, enum torc__http_op op)
{
	int r;

	p->out = c->out + c->used;
	p->out_len = c->capacity - c->used;
	r = c->encoder.coding->run(&c->encoder, p, op);
	c->used = c->capacity - p->out_len;
	return r;
}

/* Let others run, when there was enough for that. */
static int pause_after(struct compressor *c, size_t bytes)
{
	c->since += bytes;
	if (c->since < PIECE_BYTES)
		return 0;
	c->since = 0;
	return torc_yield();
}

static size_t piece_of(const struct compressor *c, size_t len)
{
	size_t most = PIECE_BYTES - c->since;

	return len < most ? len : most;
}

static int encode_on(struct compressor *c, const char *data, size_t len, enum torc__http_op op)
{
	struct torc__http_piece p = { .in = data, .in_len = len };
	int r;

	do {
		r = c->capacity - c->used < ROOM_MIN ? pass_on(c) : 0;
		if (!r)
			r = encode(c, &p, op);
		if (r > 0 && c->used) {
			int sent = pass_on(c);

			r = sent < 0 ? sent : r;
		}
	} while (r > 0);
	return r;
}

static int flush(struct torc_http_filter *f, struct torc_http_exchange *x)
{
	struct compressor *c = (struct compressor *)f;
	int r = encode_on(c, NULL, 0, TORC__HTTP_OP_FLUSH);

	if (!r)
		r = pass_on(c);
	return r ? r : torc_http_filter_flush(f, x);
}

static int write_on(struct torc_http_filter *f, struct torc_http_exchange *x, const void *data,
		    size_t len)
{
	struct compressor *c = (struct compressor *)f;
	const char *p = data;
	int r = 0;

	while (!r && len) {
		size_t n = piece_of(c, len);

		r = encode_on(c, p, n, TORC__HTTP_OP_RUN);
		if (!r)
			r = pause_after(c, n);
		p += n;
		len -= n;
	}
	return r || !c->each_write ? r : flush(f, x);
}

static void release(void *arg)
{
	struct compressor *c = arg;

	torc__http_encoder_close(&c->encoder);
	torc__chunk_give(c->x->stream->buffers, c->chunk, c->chunk_capacity);
	c->chunk = NULL;
}

static int end(struct torc_http_filter *f, struct torc_http_exchange *x)
{
	struct compressor *c = (struct compressor *)f;
	int r = encode_on(c, NULL, 0, TORC__HTTP_OP_FINISH);

	if (!r)
		r = pass_on(c);
	return r ? r : torc_http_filter_end(f, x);
}

/* An encoder, and `bytes` of room for what it says. */
static int open_encoder(struct compressor *c, const struct torc_http_coding *coding, int level,
			uint64_t length, size_t bytes)
{
	int r;

	release(c); /* of a response that was cancelled before it had begun */
	c->chunk = torc__chunk_take(c->x->stream->buffers, bytes, &c->chunk_capacity);
	if (!c->chunk)
		return -ENOMEM;
	c->out = c->chunk;
	c->capacity = bytes;
	c->used = 0;
	r = torc__http_encoder_open(&c->encoder, coding, level, length);
	if (!r)
		r = torc_http_defer(c->x, release, c);
	if (r < 0)
		release(c);
	return r;
}

/* All of it, if it is then shorter: 0; 1: it is not; or a negative errno. */
static int encode_whole(struct compressor *c, const char *data, size_t len)
{
	int r = 0;

	while (!r && len) {
		size_t n = piece_of(c, len);
		struct torc__http_piece p = { .in = data, .in_len = n };

		r = encode(c, &p, TORC__HTTP_OP_RUN);
		if (!r)
			r = pause_after(c, n);
		data += n;
		len -= n;
	}
	if (!r)
		r = encode(c, &(struct torc__http_piece){ 0 }, TORC__HTTP_OP_FINISH);
	return r;
}

/* --- the beginning of a response --- */

static void mark(struct compressor *c, const struct torc_http_coding *coding)
{
	torc__http_mark_coded(c->x, coding->name);
	c->marked = true;
}

static int begin_whole(struct compressor *c, const struct torc_http_coding *coding,
		       struct torc_http_response_head *r)
{
	size_t len = (size_t)r->length;
	int failed = open_encoder(c, coding, level_of(c->options, coding->name), len, len);

	if (failed)
		return failed;
	failed = encode_whole(c, r->body, len);
	torc__http_encoder_close(&c->encoder);
	if (failed || c->used >= len)
		return failed < 0 ? failed : 1;
	r->body = c->out;
	r->length = c->used;
	mark(c, coding);
	return 0;
}

static int open_for_parts(struct compressor *c, const struct torc_http_coding *coding,
			  const struct torc_http_response_head *r)
{
	if (c->x->head.method == TORC__HTTP_HEAD)
		return 0; /* nothing will follow */
	if (c->each_write)
		return open_encoder(c, coding, EVENTS_LEVEL, EVENTS_LENGTH, OUT_BYTES);
	return open_encoder(c, coding, level_of(c->options, coding->name), r->length, OUT_BYTES);
}

static int begin_parts(struct compressor *c, const struct torc_http_coding *coding,
		       struct torc_http_response_head *r)
{
	int failed;

	c->each_write = !strncasecmp(r->type, "text/event-stream", 17);
	failed = open_for_parts(c, coding, r);
	if (failed)
		return failed;
	r->length = TORC_NEVER;
	mark(c, coding);
	return 0;
}

/* The tag of a 304 is that of the 200 that is not sent. */
static void begin_not_modified(struct compressor *c, bool coded)
{
	struct torc_slice value;
	size_t at = 0;

	if (torc__http_added_has(c->x, "Cache-Control", "no-transform") ||
	    torc__http_added(c->x, "Content-Encoding", &at, &value))
		return;
	torc__http_add_vary(c->x);
	if (coded)
		torc__http_weaken_etag(c->x);
}

/* 0: compressed, in parts; 1: there is nothing more for the filter to do. */
static int begin(struct torc_http_filter *f, struct torc_http_exchange *x,
		 struct torc_http_response_head *r)
{
	struct compressor *c = (struct compressor *)f;
	struct torc__http_choice choice =
		torc__http_choose(x, c->options->codings ? c->options->codings : default_codings);
	bool needed = choice.coding && choice.refuses_identity;
	int failed;

	/* Another filter has failed behind this one, and the fields tell of a response that was not sent. */
	if (c->marked)
		return -EALREADY;
	/* No room for the fields: it goes as it is. */
	if (torc__http_head_room(x) < 0)
		return 1;
	if (r->status == 304) {
		begin_not_modified(c, choice.coding != NULL);
		return 1;
	}
	if (!is_eligible(c, r) || !r->length || (is_small(c, r->length) && !needed))
		return 1;
	torc__http_add_vary(x);
	if (!choice.coding)
		return 1;
	if (!r->body || r->length > TORC_HTTP_COMPRESS_WHOLE || needed)
		return begin_parts(c, choice.coding, r) < 0;
	failed = begin_whole(c, choice.coding, r);
	return failed == -ENOMEM || !failed ? 1 : failed;
}

int torc_http_compress(struct torc_http_exchange *x, void *arg)
{
	static const struct torc_http_compress_options defaults;
	struct compressor *c = torc_http_alloc(x, sizeof(*c));

	if (!c)
		return -ENOMEM;
	*c = (struct compressor){
		.filter = { .begin = begin, .write = write_on, .end = end, .flush = flush },
		.x = x,
		.options = arg ? arg : &defaults,
	};
	torc_http_add_filter(x, &c->filter);
	return torc_http_next(x);
}
