/*
 * http/client_upload.c - a request's body, while the response may be on its way already.
 *
 * A small one in memory goes out with the head. Any other is sent by a fiber of its own, in the keeper's group, so that a server
 * which answers early is heard, and one that answers while it reads does not wait for us while we wait for it. The fiber ends before the
 * response is closed: torc__http_upload_stop.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include <torc/core/fiber.h>
#include <torc/core/gen.h>
#include <torc/http/form_data.h>
#include <torc/io/file.h>

#include "core/internal/fiber.h"
#include "http/internal/client.h"
#include "io/internal/stream.h"

/* Written without a fiber of its own: a stream takes so much without waiting. */
#define SMALL_BYTES 15000u

/* For each of which the server has write_ns. */
#define PIECE_BYTES ((size_t)128 << 10)

/* --- what there is to be sent --- */

static int file_length(const char *path, uint64_t *ret)
{
	struct statx st;
	int r = torc_statx(AT_FDCWD, path, 0, STATX_SIZE | STATX_TYPE, &st);

	if (r < 0)
		return r;
	if (!S_ISREG(st.stx_mode))
		return S_ISDIR(st.stx_mode) ? -EISDIR : -EINVAL;
	*ret = st.stx_size;
	return 0;
}

int torc__http_upload_measure(struct torc_http_response *res, uint64_t *ret_length)
{
	const struct torc_http_request *q = &res->request;

	if (q->body_file)
		return file_length(q->body_file, ret_length);
	if (q->form)
		*ret_length = torc_http_form_data_length(q->form);
	else if (q->body_stream || q->body_gen || q->body_fn)
		*ret_length = q->body_length ? q->body_length : TORC_NEVER;
	else
		*ret_length = q->body_len;
	return 0;
}

bool torc__http_upload_repeats(const struct torc_http_response *res)
{
	const struct torc_http_request *q = &res->request;

	return !res->has_body || (q->body_fn ? q->body_again : !q->body_stream && !q->body_gen);
}

/* --- writing --- */

static int write_timed(struct torc_http_upload *u, const void *data, size_t len)
{
	struct torc_scope scope;
	int r;

	torc_scope_enter(&scope, u->res->client->options.write_ns);
	r = torc_stream_write(u->stream, data, len);
	torc_scope_leave(&scope);
	return r;
}

static int write_all(struct torc_http_upload *u, const char *data, size_t len)
{
	int r = 0;

	while (!r && len) {
		size_t part = len < PIECE_BYTES ? len : PIECE_BYTES;

		r = write_timed(u, data, part);
		data += part;
		len -= part;
	}
	return r;
}

static int write_chunk(struct torc_http_upload *u, const void *data, size_t len)
{
	char line[20];
	int n = snprintf(line, sizeof(line), "%zx\r\n", len);
	int r = write_timed(u, line, (size_t)n);

	if (!r)
		r = write_all(u, data, len);
	return r ? r : write_timed(u, "\r\n", 2);
}

int torc_http_upload_write(struct torc_http_upload *u, const void *data, size_t len)
{
	if (u->refused)
		return -EPIPE;
	if (!len)
		return torc_scope_status();
	if (u->left == TORC_NEVER)
		return write_chunk(u, data, len);
	if (len > u->left)
		return -EMSGSIZE;
	u->left -= len;
	return write_all(u, data, len);
}

/* --- where it comes from --- */

/* What the page cache has goes to the socket without a copy: torc_stream_copy. */
static int copy_file(struct torc_http_upload *u, struct torc_stream *from)
{
	int r = 0;

	while (!r && u->left) {
		uint64_t most = u->left < PIECE_BYTES ? u->left : PIECE_BYTES, copied = 0;
		struct torc_scope scope;

		torc_scope_enter(&scope, u->res->client->options.write_ns);
		r = torc_stream_copy(u->stream, from, most, &copied);
		torc_scope_leave(&scope);
		u->left -= copied;
		if (!r && copied < most)
			r = -EIO; /* it has become shorter */
	}
	return r;
}

static int send_file(struct torc_http_upload *u, const char *path)
{
	struct torc_stream from;
	int fd = torc_open(path, O_RDONLY, 0), r;

	if (fd < 0)
		return fd;
	r = torc_stream_open_fds(&from, fd, -1);
	if (r < 0) {
		torc_close(fd);
		return r;
	}
	r = copy_file(u, &from);
	(void)torc_stream_close(&from);
	return r;
}

static int send_stream(struct torc_http_upload *u, struct torc_stream *from)
{
	struct torc_slice view;
	int r = 0;

	while (u->left && (r = torc_stream_peek(from, &view)) > 0) {
		if (view.len > u->left)
			view.len = (size_t)u->left;
		r = torc_http_upload_write(u, view.data, view.len);
		if (r < 0)
			return r;
		torc_stream_consume(from, view.len);
	}
	return u->left ? r : 0;
}

static int send_values(struct torc_http_upload *u, struct torc_gen *gen)
{
	int r = 0;

	torc_gen_each(value, gen) {
		const struct torc_slice *part = value;

		r = torc_http_upload_write(u, part->data, part->len);
		if (r < 0)
			return r;
	}
	return torc_gen_status(gen);
}

static int write_form(void *to, const void *data, size_t len)
{
	return torc_http_upload_write(to, data, len);
}

static int send_body(struct torc_http_upload *u)
{
	const struct torc_http_request *q = &u->res->request;
	int r;

	if (q->body_file)
		r = send_file(u, q->body_file);
	else if (q->form)
		r = torc_http_form_data_write(q->form, write_form, u);
	else if (q->body_stream)
		r = send_stream(u, q->body_stream);
	else if (q->body_gen)
		r = send_values(u, q->body_gen);
	else if (q->body_fn)
		r = q->body_fn(u, q->body_arg);
	else
		r = torc_http_upload_write(u, q->body, q->body_len);
	if (r < 0)
		return r;
	if (u->left == TORC_NEVER)
		return write_timed(u, "0\r\n\r\n", 5);
	return u->left ? -EIO : 0;
}

/* --- the fiber --- */

static int flush(struct torc_http_upload *u)
{
	struct torc_scope scope;
	int r;

	torc_scope_enter(&scope, u->res->client->options.write_ns);
	r = torc_stream_flush(u->stream);
	torc_scope_leave(&scope);
	return r;
}

/* A connection that fails may still have an answer for us: the reader will see. */
static bool is_of_connection(int error)
{
	return error == -EPIPE || error == -ECONNRESET || error == -ECONNABORTED;
}

/* The response's head is due from now on; or will not come. */
static void tell_reader(struct torc_http_response *res, int r)
{
	if (!res->awaiting)
		return;
	if (!r)
		torc_scope_set_deadline(&res->await, torc_now_ns() + res->client->options.head_ns);
	else if (!is_of_connection(r) || res->upload.stream->tx_error == 0)
		torc_scope_cancel_with(&res->await, "the request's body has failed");
}

static int upload_main(void *arg)
{
	struct torc_http_upload *u = arg;
	int r;

	torc_scope_enter(&u->scope, TORC_NEVER);
	u->begun = true;
	r = u->refused ? -EPIPE : send_body(u);
	u->written = !r;
	if (!r)
		r = flush(u);
	torc_scope_leave(&u->scope);
	u->result = r;
	u->running = false;
	tell_reader(u->res, r);
	torc__slot_wake(&u->ended);
	return 0;
}

static int send_small(struct torc_http_upload *u)
{
	const struct torc_http_request *q = &u->res->request;

	u->left = 0;
	u->result = write_all(u, q->body, q->body_len);
	return u->result;
}

static bool is_small(const struct torc_http_request *q)
{
	return !q->body_file && !q->form && !q->body_stream && !q->body_gen && !q->body_fn &&
	       q->body_len <= SMALL_BYTES;
}

int torc__http_upload_start(struct torc_http_response *res)
{
	struct torc_http_upload *u = &res->upload;
	struct torc_spawn_options o = { .name = "HTTP upload" };
	int r;

	if (is_small(&res->request))
		return send_small(u);
	u->running = true;
	u->begun = u->written = false;
	r = torc_group_spawn_with(&res->pool->uploads, &o, upload_main, u);
	if (r < 0) {
		u->running = false;
		u->result = r;
	}
	return r;
}

static const struct torc__wait_kind ended_kind = { "end of an HTTP upload", NULL, NULL };

static void await_end(struct torc_http_upload *u)
{
	while (u->running)
		torc__slot_wait(&u->ended, &ended_kind);
}

bool torc__http_upload_is_done(struct torc_http_response *res)
{
	struct torc_http_upload *u = &res->upload;

	/* Everything was taken by the kernel: the fiber is about to see that. */
	if (u->running && u->written && !torc__stream_unsent(u->stream))
		await_end(u);
	return !u->running && !u->result;
}

void torc__http_upload_stop(struct torc_http_response *res)
{
	struct torc_http_upload *u = &res->upload;

	if (torc__http_upload_is_done(res) || !u->running)
		return;
	u->refused = true;
	if (u->begun) /* else it will end as soon as it does */
		torc_scope_cancel_with(&u->scope, "the server does not want the body");
	await_end(u);
}
