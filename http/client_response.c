/*
 * http/client_response.c - what the program sees of a response.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <torc/core/fiber.h>
#include <torc/core/scope.h>

#include "http/internal/client.h"
#include "http/internal/save.h"

/* Decoded bytes that may come of nearly nothing. */
#define RATIO_FREE ((uint64_t)1 << 20)

/* Of a body that is not wanted so much is read to keep the connection: what is here, or of a redirect what comes in a round trip or two. */
#define SKIP_BYTES ((size_t)64 << 10)
#define DRAIN_NS   TORC_MS(200)

/* --- its memory --- */

void *torc__http_response_alloc(struct torc_http_response *res, size_t bytes)
{
	struct torc__http_keep *keep;
	size_t rounded = (bytes + 15) & ~(size_t)15;

	if (rounded <= res->room_left) {
		char *room = res->room;

		res->room += rounded;
		res->room_left -= rounded;
		return room;
	}
	keep = malloc(sizeof(*keep) + bytes);
	if (!keep)
		return NULL;
	keep->next = res->memory;
	res->memory = keep;
	return keep->data;
}

/* --- the head --- */

static struct torc_slice moved(struct torc_slice s, const char *from, const char *to)
{
	return (struct torc_slice){ to + (s.data - from), s.len };
}

/* The reader's views are of the stream, where the body follows. */
static int keep_head(struct torc_http_response *res)
{
	struct torc__http_reader *r = &res->reader;
	struct torc_slice view = { NULL, 0 };
	char *copy = torc__http_response_alloc(res, r->head_len);

	(void)torc__stream_shown(r->stream, &view);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, view.data, r->head_len);
	res->reason = moved(r->head.reason, view.data, copy);
	for (unsigned i = 0; i < r->head.field_count; i++) {
		struct torc__http_field *f = &res->fields[i];

		f->name = moved(f->name, view.data, copy);
		f->value = moved(f->value, view.data, copy);
	}
	return 0;
}

static int keep_trailers(struct torc__http_reader *r, const char *lines, size_t len)
{
	struct torc_http_response *res = torc__container_of(r, struct torc_http_response, reader);

	torc__http_string_add(&res->trailers, lines, len);
	return res->trailers.error;
}

/* What does not describe the body any more once it is decoded. */
static void drop_coded_fields(struct torc_http_response *res)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < res->field_count; i++) {
		const struct torc__http_field *f = &res->fields[i];

		if (f->known == TORC__HTTP_NAME_CONTENT_ENCODING ||
		    f->known == TORC__HTTP_NAME_CONTENT_LENGTH)
			continue;
		res->fields[kept++] = *f;
	}
	res->field_count = kept;
	res->length = TORC_NEVER;
}

/* The one coding of the body; NULL: none, several, or one that we do not know. Then the program gets it as it came. */
static const struct torc_http_coding *coding_of(const struct torc_http_response *res)
{
	const struct torc_http_coding *coding = NULL;
	struct torc_slice list, name;
	size_t at = 0;
	struct torc_slice field;

	while (torc_http_response_next_field(res, &at, &field, &list)) {
		if (!torc__http_slice_is_word(field, "Content-Encoding"))
			continue;
		while (torc_http_next_element(&list, &name)) {
			if (torc__http_slice_is_word(name, "identity"))
				continue;
			if (coding)
				return NULL;
			coding = torc__http_coding_named(res->client->options.codings, name);
			if (!coding)
				return NULL;
		}
	}
	return coding;
}

static int begin_decoding(struct torc_http_response *res)
{
	const struct torc_http_coding *coding = coding_of(res);
	const struct torc__http_decode_limits limits = {
		.bytes = TORC_NEVER,
		.ratio = res->client->options.decode_ratio,
		.ratio_free = RATIO_FREE,
	};
	int r;

	if (!coding)
		return 0;
	r = torc__http_decoder_open(&res->decoder, coding, &limits);
	if (r < 0)
		return r;
	res->decodes = true;
	drop_coded_fields(res);
	return 0;
}

static uint64_t declared_length(const struct torc__http_reader *r)
{
	if (r->framing == TORC__HTTP_NO_BODY)
		return r->head.has_length ? r->head.content_length : 0;
	return r->framing == TORC__HTTP_BY_LENGTH ? r->head.content_length : TORC_NEVER;
}

int torc__http_response_begin(struct torc_http_response *res)
{
	struct torc__http_reader *r = &res->reader;
	int e = keep_head(res);

	if (e < 0)
		return e;
	res->status = r->head.status;
	res->field_count = r->head.field_count;
	res->length = declared_length(r);
	r->on_trailers = keep_trailers;
	return res->decodes_body && !r->done ? begin_decoding(res) : 0;
}

int torc_http_response_status(const struct torc_http_response *res)
{
	return res->status;
}

struct torc_slice torc_http_response_reason(const struct torc_http_response *res)
{
	return res->reason;
}

const char *torc_http_response_url(const struct torc_http_response *res)
{
	return res->place->url;
}

unsigned torc_http_response_redirects(const struct torc_http_response *res)
{
	return res->redirects;
}

struct torc_stream *torc_http_response_stream(const struct torc_http_response *res)
{
	return res->conn ? &res->conn->stream : NULL;
}

uint64_t torc_http_response_length(const struct torc_http_response *res)
{
	return res->length;
}

bool torc_http_response_next_field(const struct torc_http_response *res, size_t *at,
				   struct torc_slice *ret_name, struct torc_slice *ret_value)
{
	const struct torc__http_field *f = &res->fields[*at];

	if (*at >= res->field_count)
		return false;
	*ret_name = f->name;
	*ret_value = f->value;
	++*at;
	return true;
}

bool torc_http_response_field(const struct torc_http_response *res, const char *name,
			      struct torc_slice *ret_value)
{
	struct torc_slice found, value;
	size_t at = 0;

	while (torc_http_response_next_field(res, &at, &found, &value)) {
		if (torc__http_slice_is_word(found, name)) {
			*ret_value = value;
			return true;
		}
	}
	return false;
}

/* --- trailers --- */

bool torc_http_response_next_trailer(const struct torc_http_response *res, size_t *at,
				     struct torc_slice *ret_name, struct torc_slice *ret_value)
{
	return res->complete &&
	       torc__http_next_line(res->trailers.data, res->trailers.len, at, ret_name, ret_value);
}

bool torc_http_response_trailer(const struct torc_http_response *res, const char *name,
				struct torc_slice *ret_value)
{
	struct torc_slice found, value;
	size_t at = 0;

	while (torc_http_response_next_trailer(res, &at, &found, &value)) {
		if (torc__http_slice_is_word(found, name)) {
			*ret_value = value;
			return true;
		}
	}
	return false;
}

/* --- the body as it comes --- */

/* How much longer it may be waited for; TORC_NEVER: there is no limit. */
static uint64_t patience(const struct torc_http_response *res)
{
	uint64_t paid;

	/* What takes centuries is as good as none. */
	if (__builtin_mul_overflow(res->reader.received, (uint64_t)TORC__HTTP_BODY_NS_PER_BYTE,
				   &paid) ||
	    __builtin_add_overflow(paid, res->client->options.body_ns, &paid))
		return TORC_NEVER;
	return paid > res->waited_ns ? paid - res->waited_ns : 0;
}

static int peek_raw(struct torc_http_response *res, struct torc_slice *ret_view)
{
	uint64_t now = torc_turn_ns();
	bool sending;
	int r;

	r = torc__http_reader_try(&res->reader, ret_view);
	if (r != -EAGAIN)
		return r;
	/* A server may answer in step with what it gets: that is no time of its own. */
	sending = res->upload.running;
	torc__http_await_begin(res, now, patience(res));
	r = torc__http_await_end(res, torc__http_reader_peek(&res->reader, ret_view));
	if (!sending)
		res->waited_ns += torc_turn_ns() - now;
	return r;
}

/* The scope's end may be followed by another try, anything else is final. */
static int failed(struct torc_http_response *res, int error)
{
	if (error == -ENODATA)
		error = -EPIPE;
	if (torc_scope_status() != error)
		res->error = error;
	return error;
}

static int completed(struct torc_http_response *res)
{
	res->complete = true;
	torc__http_response_release(res);
	return 0;
}

static int peek_plain(struct torc_http_response *res, struct torc_slice *ret_view)
{
	int r = peek_raw(res, ret_view);

	return r > 0 ? 1 : r ? failed(res, r) : completed(res);
}

/* --- the body decoded --- */

/* What the decoder has used is given back; what follows, if anything, is fetched. 1, 0 at the end, or an error. */
static int feed(struct torc_http_response *res)
{
	int r;

	if (res->raw.len)
		return 1;
	if (res->raw_len)
		torc__http_reader_consume(&res->reader, res->raw_len);
	res->raw_len = 0;
	r = peek_raw(res, &res->raw);
	if (r > 0)
		res->raw_len = res->raw.len;
	return r;
}

static int peek_decoded(struct torc_http_response *res, struct torc_slice *ret_view)
{
	int r;

	while (!res->out.len) {
		r = torc__http_decoder_run(&res->decoder, &res->raw, &res->out);
		if (r < 0)
			return failed(res, r);
		if (r > 0)
			continue;
		r = feed(res);
		if (!r)
			r = torc__http_decoder_end(&res->decoder);
		else if (r > 0)
			continue;
		return r < 0 ? failed(res, r) : completed(res);
	}
	*ret_view = res->out;
	return 1;
}

int torc_http_response_peek(struct torc_http_response *res, struct torc_slice *ret_view)
{
	if (res->error)
		return res->error;
	if (res->complete)
		return 0;
	return res->decodes ? peek_decoded(res, ret_view) : peek_plain(res, ret_view);
}

void torc_http_response_consume(struct torc_http_response *res, size_t n)
{
	res->shown += n;
	if (!res->decodes) {
		torc__http_reader_consume(&res->reader, n);
		return;
	}
	torc__check(n <= res->out.len, "more bytes were consumed than were shown");
	res->out.data += n;
	res->out.len -= n;
}

/* --- the body as a whole --- */

static int append_body(struct torc_http_response *res, size_t most)
{
	struct torc_slice part;
	int r;

	while ((r = torc_http_response_peek(res, &part)) > 0) {
		if (part.len > most - res->whole.len)
			return failed(res, -EMSGSIZE);
		torc__http_string_add(&res->whole, part.data, part.len);
		if (res->whole.error)
			return failed(res, -ENOMEM);
		torc_http_response_consume(res, part.len);
	}
	return r;
}

int torc_http_response_read(struct torc_http_response *res, size_t most,
			    struct torc_slice *ret_body)
{
	struct torc__http_string *s = &res->whole;
	int r;

	if (most > TORC_HTTP_RESPONSE_READ_MAX || res->shown != s->len - res->whole_read)
		return -EINVAL;
	if (res->error)
		return res->error;
	if (!res->complete && !res->decodes && res->length != TORC_NEVER && res->length > most &&
	    res->reader.framing != TORC__HTTP_NO_BODY)
		return failed(res, -EMSGSIZE);
	r = append_body(res, most);
	if (r < 0)
		return r;
	if (!res->whole_read)
		torc__http_string_add(s, "", 1);
	if (s->error)
		return failed(res, -ENOMEM);
	res->whole_read = true;
	*ret_body = (struct torc_slice){ s->data, s->len - 1 };
	return 0;
}

/* --- the body elsewhere --- */

int torc_http_response_copy(struct torc_http_response *res, struct torc_stream *to, uint64_t most,
			    uint64_t *ret_bytes)
{
	struct torc_slice part;
	uint64_t bytes = 0;
	int r;

	while ((r = torc_http_response_peek(res, &part)) > 0) {
		if (part.len > most - bytes)
			return failed(res, -EMSGSIZE);
		r = torc_stream_write(to, part.data, part.len);
		if (r < 0)
			return r;
		bytes += part.len;
		torc_http_response_consume(res, part.len);
	}
	if (!r && ret_bytes)
		*ret_bytes = bytes;
	return r;
}

static int peek_part(void *arg, struct torc_slice *ret_view)
{
	return torc_http_response_peek(arg, ret_view);
}

static void consume_part(void *arg, size_t n)
{
	torc_http_response_consume(arg, n);
}

int torc_http_response_save(struct torc_http_response *res, int dirfd, const char *path,
			    mode_t mode, uint64_t most, uint64_t *ret_bytes)
{
	const struct torc__http_parts parts = { peek_part, consume_part, res };
	int r = res->error ? res->error
			   : torc__http_save(&parts, dirfd, path, mode, most, ret_bytes);

	return r == -EMSGSIZE ? failed(res, r) : r;
}

/* --- the end --- */

/* Can another request follow on the connection? Only if nothing has come that belongs to none. */
static bool can_be_kept(struct torc_http_response *res)
{
	return res->status && torc__http_reader_keeps(&res->reader) &&
	       torc__http_upload_is_done(res) && !res->body_owed && !res->reader.head_len &&
	       torc__stream_is_quiet(&res->conn->stream) && res->reader.head.status != 101;
}

void torc__http_response_release(struct torc_http_response *res)
{
	struct torc__http_conn *c = res->conn;
	bool keep = c && can_be_kept(res);

	if (!c || res->upload.running)
		return;
	res->conn = NULL;
	if (keep)
		torc__http_conn_give(c);
	else
		torc__http_conn_drop(c);
}

/* What is here already of a short body is read, so that the connection can be used again. */
static void skip_rest(struct torc_http_response *res)
{
	struct torc__http_reader *r = &res->reader;
	struct torc_slice view;
	size_t skipped = 0;

	if (!res->conn)
		return;
	if (res->raw_len)
		torc__http_reader_consume(r, res->raw_len);
	while (skipped < SKIP_BYTES && torc__http_reader_try(r, &view) > 0) {
		skipped += view.len;
		torc__http_reader_consume(r, view.len);
	}
}

static bool is_worth_draining(const struct torc_http_response *res)
{
	const struct torc__http_reader *r = &res->reader;

	return res->conn && !r->done && r->head.keep_alive && !res->upload.running &&
	       (r->framing == TORC__HTTP_BY_CHUNKS ||
		(r->framing == TORC__HTTP_BY_LENGTH && r->body_left <= SKIP_BYTES));
}

void torc__http_response_drain(struct torc_http_response *res)
{
	struct torc_scope scope;
	struct torc_slice view;
	size_t drained = 0;

	if (!is_worth_draining(res))
		return;
	torc_scope_enter(&scope, DRAIN_NS);
	while (drained < SKIP_BYTES && torc__http_reader_peek(&res->reader, &view) > 0) {
		drained += view.len;
		torc__http_reader_consume(&res->reader, view.len);
	}
	torc_scope_leave(&scope);
}

void torc__http_response_done(struct torc_http_response *res)
{
	struct torc__http_keep *keep;

	torc__http_upload_stop(res);
	if (res->status)
		skip_rest(res);
	torc__http_response_release(res);
	if (res->decodes)
		torc__http_decoder_close(&res->decoder);
	while ((keep = res->memory)) {
		res->memory = keep->next;
		free(keep);
	}
	torc__http_string_done(&res->trailers);
	torc__http_string_done(&res->whole);
}
