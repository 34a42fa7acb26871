/*
 * http/server.c - the life of a connection: wait, read a head, answer, again; and how it ends.
 */
#include <torc/http/server.h>

#include <errno.h>
#include <string.h>

#include <torc/core/fiber.h>
#include <torc/core/run.h>
#include <torc/io/socket.h>

#include "http/internal/exchange.h"

/* After an error the peer may still be sending: what it sends is read and dropped, or its kernel would
 * answer ours with a reset, and the answer could be lost. RFC 9112, section 9.6. */
#define LINGER_NS    TORC_SECONDS(2)
#define LINGER_BYTES ((size_t)1 << 20)

/* For a connection that is turned away to say what it wants. */
#define TURN_AWAY_NS TORC_SECONDS(1)

/* Who reads slowly is not to keep megabytes of the kernel's memory. */
#define UNSENT_BYTES (256 << 10)

#define CHUNK_EXT_BYTES 4096
#define TRAILER_BYTES   8192
#define TRAILERS        100
#define FIELDS_MAX      1000

/* Has more been received than was consumed? What is still in the kernel nobody can know. */
static bool has_unread(const struct torc_stream *s)
{
	return s->spill_len || s->rx_count;
}

static bool has_unsent(const struct torc_stream *s)
{
	return s->pending_len || s->sending_len;
}

static void linger(struct torc_stream *s)
{
	struct torc_scope scope;
	struct torc_slice view;
	size_t dropped = 0;

	torc_scope_enter(&scope, LINGER_NS);
	if (torc_stream_shutdown(s) == 0) {
		while (dropped < LINGER_BYTES && torc_stream_peek(s, &view) > 0) {
			dropped += view.len;
			torc_stream_consume(s, view.len);
		}
	}
	torc_scope_leave(&scope);
}

/* --- the exchange's memory --- */

static struct torc_http_exchange *new_exchange(struct torc__http_connection *c)
{
	const struct torc__http_config *config = c->config;
	uint32_t capacity;
	size_t bytes = sizeof(struct torc_http_exchange) +
		       config->limits.fields * sizeof(struct torc__http_field);
	struct torc_http_exchange *x =
		(void *)torc__chunk_take(c->stream->buffers, bytes, &capacity);

	if (!x)
		return NULL;
	x->stream = c->stream;
	x->config = config;
	x->connection = c;
	x->capacity = capacity;
	x->head_copy = NULL;
	x->blocks = NULL;
	x->whole = (struct torc__http_text){ NULL, 0, 0 };
	x->head.fields = x->fields;
	x->head.field_capacity = config->limits.fields;
	return x;
}

static void free_exchange(struct torc_http_exchange *x)
{
	struct torc__buffers *b = x->stream->buffers;

	if (torc__unlikely(x->blocks || x->whole.data))
		torc__http_memory_done(x);
	if (x->head_copy)
		torc__chunk_give(b, x->head_copy, x->head_copy_capacity);
	torc__chunk_give(b, (char *)x, x->capacity);
}

/* --- one request --- */

static void begin_request(struct torc_http_exchange *x)
{
	struct torc__http_chunk_limits limits = {
		.body_bytes = x->config->options.body_bytes,
		.ext_bytes = CHUNK_EXT_BYTES,
		.trailer_bytes = TRAILER_BYTES,
		.trailers = TRAILERS,
	};

	x->run.len = 0;
	x->body_limit = x->config->options.body_bytes;
	x->body_left = x->head.content_length;
	x->body_received = x->body_data = 0;
	x->body_waited_ns = 0;
	x->body_error = x->rejected = 0;
	x->source = NULL;
	x->trailers.len = x->trailers.capacity = 0;
	x->body_done = !x->head.chunked && !x->head.content_length;
	x->continue_due = x->head.expect_continue && !x->body_done;
	x->late = false;
	if (x->head.chunked)
		torc__http_chunk_init(&x->chunk, &limits);
}

static void begin_response(struct torc_http_exchange *x)
{
	x->responded = x->close = x->in_chunks = x->without_body = x->incomplete = false;
	x->ended = false;
	x->out_left = x->sent_bytes = 0;
	x->filters = NULL;
	x->leaves = NULL;
	x->trailing.len = x->trailing.capacity = 0;
	x->extra = (struct torc__http_text){ x->extra_room, 0, sizeof(x->extra_room) };
	x->extra_kept = 0;
}

/* What is between a complete head and an answer. */
static void begin_exchange(struct torc_http_exchange *x)
{
	torc__http_memory_init(x);
	x->match = NULL;
	begin_request(x);
	begin_response(x);
}

/* The body will take the place of the head: keep a copy and view that. */
static int copy_head(struct torc_http_exchange *x, const char *data, size_t len)
{
	x->head_copy = torc__chunk_take(x->stream->buffers, len, &x->head_copy_capacity);
	if (!x->head_copy)
		return -ENOMEM;
	memcpy(x->head_copy, data, len);
	(void)torc__http_parse_request(&x->head, x->head_copy, len, &x->config->limits);
	torc_stream_consume(x->stream, len);
	return 0;
}

/* No handler was free for it in time. The connection goes on: a new one would cost more. */
static int say_busy(struct torc_http_exchange *x)
{
	int r = torc_http_add_field(x, "Retry-After", x->config->retry_after);

	return r ? r : torc_http_respond_text(x, 503, "Service Unavailable\n");
}

static int run_handler(struct torc_http_exchange *x)
{
	const struct torc_http_options *o = &x->config->options;
	int r = torc__http_handler_enter(o, x->connection->load);

	if (torc__unlikely(r))
		return r == -EBUSY ? say_busy(x) : r;
	r = o->handler(x, o->arg);
	torc__http_handler_leave(o, x->connection->load);
	return r;
}

static int call_handler(struct torc_http_exchange *x)
{
	const struct torc_http_options *o = &x->config->options;
	struct torc_scope scope;
	int r;

	if (x->head.content_length > o->body_bytes)
		return torc_http_limit_body(x, o->body_bytes);
	if (torc__likely(o->handler_ns == TORC_NEVER))
		return run_handler(x);
	torc_scope_enter_until(&scope, torc_turn_ns() + o->handler_ns);
	r = run_handler(x);
	x->late = torc_scope_leave(&scope) == -ETIMEDOUT;
	return r;
}

/* Is there more of the response to come? */
static bool is_open(const struct torc_http_exchange *x)
{
	return !x->ended && (x->out_left || x->in_chunks || x->filters);
}

/* As long as the handler runs, the client may leave. One that has said goodbye before is half-closed on purpose. */
static int answer(struct torc_http_exchange *x, struct torc_scope *leaves)
{
	int r;

	if (!torc__stream_has_ended(x->stream)) {
		x->leaves = leaves;
		torc__http_watch(x);
	}
	r = call_handler(x);
	x->leaves = NULL;
	torc__http_unwatch(x);
	if (torc__likely(x->ended && !x->incomplete))
		return 0;
	if (!x->responded)
		return torc_http_respond_error(x, r);
	return r < 0 && is_open(x) ? r : torc_http_end(x);
}

enum next { CLOSE, LINGER, KEEP };

/* The head is complete: [len] bytes at data. */
static enum next exchange(struct torc_http_exchange *x, struct torc_scope *leaves, const char *data,
			  size_t len)
{
	int r;

	begin_exchange(x);
	if (!x->body_done && copy_head(x, data, len) < 0)
		return CLOSE;
	r = answer(x, leaves);
	if (torc__unlikely(x->deferred != NULL))
		torc__http_run_deferred(x);
	if (r < 0) {
		/* The end of the connection is the end of this body: a plain one would make it look complete. */
		if (x->responded && !x->in_chunks && x->out_left == TORC_NEVER)
			(void)!torc_set_linger(torc_stream_fd(x->stream), 0);
		return CLOSE;
	}
	if (!x->head_copy)
		torc_stream_consume(x->stream, len);
	/* A client that asked for the end has no more to say; any other may be sending its next request. */
	if (x->close)
		return x->body_done && !x->head.keep_alive && !has_unread(x->stream) ? CLOSE
										     : LINGER;
	return x->body_done || torc__http_skip_body(x) == 0 ? KEEP : LINGER;
}

static enum next refuse(struct torc_stream *s, const struct torc__http_config *config, int status)
{
	return torc__http_refuse(s, config, status) < 0 ? CLOSE : LINGER;
}

/*
 * Read a head that was not complete at first. Returns its length, or a negative status, or 0 when the
 * connection has ended.
 */
static int read_rest(struct torc_http_exchange *x, struct torc_slice *view)
{
	const struct torc__http_limits *limits = &x->config->limits;
	struct torc_scope scope;
	size_t scanned = view->len;
	int len = 0, r;

	torc_scope_enter_until(&scope, torc_turn_ns() + x->config->options.header_ns);
	do {
		r = torc_stream_fill(x->stream, view->len + 1, view);
		/* At the end too: what is wrong with a line that was cut off has not been looked at. */
		if (!r || (r > 0 && torc__http_head_grew(view->data, view->len, limits, &scanned)))
			len = torc__http_parse_request(&x->head, view->data, view->len, limits);
		if (!len)
			scanned = view->len;
	} while (r > 0 && !len);
	if (torc_scope_leave(&scope) == -ETIMEDOUT && r == -ETIMEDOUT)
		return -408;
	/* A good beginning and then the end: nobody is there to be told. */
	return r < 0 ? 0 : len;
}

static enum next serve_request(struct torc__http_connection *c, struct torc_slice view)
{
	struct torc_http_exchange *x = new_exchange(c);
	enum next next;
	int len;

	c->requests++;
	if (!x)
		return refuse(c->stream, c->config, 503);
	len = torc__http_parse_request(&x->head, view.data, view.len, &c->config->limits);
	if (!len)
		len = read_rest(x, &view);
	if (len > 0)
		next = exchange(x, &c->scope, view.data, (size_t)len);
	else
		next = len ? refuse(c->stream, c->config, -len) : CLOSE;
	free_exchange(x);
	return next;
}

/* --- the connection --- */

struct torc__http_counts torc__http_counts[TORC__HTTP_LOOPS_MAX];

static int peek_until(struct torc_stream *s, uint64_t deadline_ns, struct torc_slice *ret_view)
{
	struct torc_scope scope;
	int r;

	torc_scope_enter_until(&scope, deadline_ns);
	r = torc_stream_peek(s, ret_view);
	torc_scope_leave(&scope);
	return r;
}

/*
 * As long as the last answer has not been taken, the peer has write_ns; otherwise it has idle_ns.
 */
static int await_request(struct torc__http_connection *c, struct torc_slice *ret_view)
{
	const struct torc_http_options *o = &c->config->options;
	struct torc_stream *s = c->stream;
	uint64_t now = torc_turn_ns();
	int r;

	if (!has_unsent(s))
		c->write_left_ns = o->write_ns;
	else if (o->write_ns < o->idle_ns) {
		r = peek_until(s, now + o->write_ns, ret_view);
		if (r != -ETIMEDOUT || has_unsent(s))
			return r;
	}
	return peek_until(s, now + o->idle_ns, ret_view);
}

/* The last answer has the time that each has. */
static int finish_sending(struct torc_stream *s, const struct torc__http_config *config)
{
	struct torc_scope scope;
	int r;

	torc_scope_enter_until(&scope, torc_turn_ns() + config->options.write_ns);
	r = torc_stream_flush(s);
	torc_scope_leave(&scope);
	return r;
}

static enum next serve_requests(struct torc__http_connection *c)
{
	struct torc_slice view;
	enum next next = KEEP;

	torc_scope_enter(&c->scope, TORC_NEVER);
	while (next == KEEP && await_request(c, &view) > 0) {
		torc_stream_set_busy(c->stream, true);
		next = serve_request(c, view);
		torc_stream_set_busy(c->stream, false);
	}
	torc_scope_leave(&c->scope);
	return next;
}

/* There are too many. Only to a request is there an answer: what comes before one would confuse some clients. */
static enum next turn_away(struct torc__http_connection *c)
{
	struct torc_slice view;

	if (peek_until(c->stream, torc_turn_ns() + TURN_AWAY_NS, &view) <= 0)
		return CLOSE;
	return refuse(c->stream, c->config, 503);
}

static int serve_connection(struct torc_stream *s, void *arg)
{
	struct torc__http_counts *counts = &torc__http_counts[torc_loop_index()];
	struct torc__http_connection c = { .stream = s, .config = arg };
	enum next next;
	int r;

	torc__http_count(&counts->begun, 1);
	c.write_left_ns = c.config->options.write_ns;
	if (torc__likely(torc__http_connection_enter(&c))) {
		next = serve_requests(&c);
		torc__http_connection_leave(&c);
	} else {
		next = turn_away(&c);
	}
	torc__http_count(&counts->ended, 1);
	r = finish_sending(s, c.config);
	if (!r && next == LINGER)
		linger(s);
	return r; /* -ETIMEDOUT: the server drops what is unsent */
}

/* --- the server --- */

static void on_listen(const char *address, void *arg)
{
	const struct torc_http_options *o = &((const struct torc__http_config *)arg)->options;

	if (o->on_listen)
		o->on_listen(address, o->arg);
}

static void on_error(const char *address, int error, void *arg)
{
	const struct torc_http_options *o = &((const struct torc__http_config *)arg)->options;

	if (o->on_error)
		o->on_error(address, error, o->arg);
}

#define DEFAULT(field, value) (o->field = o->field ? o->field : (value))

/* TORC_NEVER and the like are added to the clock: as good as for ever, and no overflow. */
#define NS_MAX (UINT64_MAX / 4)
#define DEFAULT_NS(field, value) \
	(DEFAULT(field, value), o->field = o->field < NS_MAX ? o->field : NS_MAX)

static void fill_in(struct torc__http_config *config)
{
	struct torc_http_options *o = &config->options;

	DEFAULT(line_bytes, 8192);
	DEFAULT(head_bytes, 32768);
	DEFAULT(fields, 100);
	DEFAULT(body_bytes, (uint64_t)64 << 20);
	DEFAULT_NS(header_ns, TORC_SECONDS(10));
	DEFAULT_NS(body_ns, TORC_SECONDS(10));
	DEFAULT_NS(idle_ns, TORC_SECONDS(60));
	DEFAULT_NS(write_ns, TORC_SECONDS(30));
	if (!o->handler_ns || o->handler_ns > NS_MAX)
		o->handler_ns = TORC_NEVER;
	DEFAULT(memory_bytes, (size_t)1 << 20);
	DEFAULT(requests_max, UINT64_MAX);
	DEFAULT(queue_max, o->handlers_max);
	DEFAULT_NS(queue_ns, TORC_SECONDS(1));
	DEFAULT(retry_after_s, 1);
	config->limits = (struct torc__http_limits){ o->line_bytes, o->head_bytes, o->fields };
}

static int serve_with(struct torc__http_config *config)
{
	const struct torc_http_options *options = &config->options;

	return torc_serve_with(&(struct torc_serve_options){
		.addresses = options->addresses,
		.handler = serve_connection,
		.arg = config,
		.name = "http connection",
		.unsent_bytes = UNSENT_BYTES,
		.grace_ns = options->grace_ns,
		.connections_max = torc__http_connections_max(options),
		.at_limit = options->at_limit,
		.balance = options->balance,
		.accept_rate = options->accept_rate,
		.tls = options->tls,
		.handover = options->handover,
		.on_listen = on_listen,
		.on_error = on_error,
	});
}

int torc_http_serve(const struct torc_http_options *options)
{
	struct torc__http_config config = { .options = *options };
	int r;

	fill_in(&config);
	/* A head must fit into one view of the stream. */
	if (!options->handler || !options->addresses || config.options.fields > FIELDS_MAX ||
	    config.options.head_bytes >= TORC_STREAM_VIEW_MAX)
		return -EINVAL;
	r = torc__http_loads_init(&config);
	if (r < 0)
		return r;
	r = serve_with(&config);
	torc__http_loads_done(&config);
	return r;
}
