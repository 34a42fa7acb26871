/*
 * tests/sim/web.h - the HTTP server: files, bodies, chunks; clients that send requests whole, in pieces, one after the
 * other without waiting, malformed, or half of one.
 *
 * Checked: each answer is one, with the status that its request has to get, and a body as long as it says and of the
 * right bytes; answers come in the order of the requests; nothing follows the last one.
 */
#ifndef TESTS_SIM_WEB_H
#define TESTS_SIM_WEB_H

#include <fcntl.h>
#include <stdlib.h>

#include <torc/core/sys.h>
#include <torc/http/files.h>

#include "tests/sim/serving.h"

#define FILE_BYTES 5000u

struct web {
	struct serving serving; /* first */
	struct torc_http_files files;
};

/* --- the server --- */

static inline int answer_sum(struct torc_http_exchange *x)
{
	struct torc_slice part;
	size_t len = 0;
	char text[32];
	int r;

	while ((r = torc_http_body_peek(x, &part)) > 0) {
		check_bytes(part.data, part.len, 1, len);
		len += part.len;
		torc_http_body_consume(x, part.len);
	}
	if (r < 0)
		return r;
	r = snprintf(text, sizeof(text), "%zu", len);
	return torc_http_respond(x, 200, "text/plain", text, (size_t)r);
}

static inline int answer_parts(struct torc_http_exchange *x, uint64_t length)
{
	char part[700];
	int r = torc_http_begin(x, 200, "text/plain", length);

	for (size_t done = 0; !r && done < 2100; done += sizeof(part)) {
		fill_bytes(part, sizeof(part), 2, done);
		r = torc_http_write(x, part, sizeof(part));
		if (!r && one_in(4))
			r = do_something();
	}
	return r;
}

static inline int web_handler(struct torc_http_exchange *x, void *arg)
{
	struct web *w = arg;
	int r;

	if (torc_http_path_is(x, "/hello"))
		return torc_http_respond(x, 200, "text/plain", "hello", 5);
	if (torc_http_path_is(x, "/sum"))
		return answer_sum(x);
	if (torc_http_path_is(x, "/parts"))
		return answer_parts(x, 2100);
	if (torc_http_path_is(x, "/chunks"))
		return answer_parts(x, TORC_NEVER);
	if (torc_http_path_is(x, "/fail"))
		return -EIO;
	r = torc_http_files_handle(x, &w->files);
	return r == -ENOENT ? torc_http_respond(x, 404, "text/plain", "no", 2) : r;
}

static inline int serve_web(struct serving *s)
{
	static const char *const addresses[] = { "tcp://127.0.0.1:0", NULL };
	int most = one_in(4) ? 1 + (int)dice(3) : 0;

	s->most = most * torc_loop_count();
	s->grace_ns = one_in(2) ? some_time() : 0;
	s->idle_ns = TORC_SECONDS(15);
	return torc_http_serve(&(struct torc_http_options){
		.addresses = addresses,
		.handler = web_handler,
		.arg = s,
		.head_bytes = 2000,
		.line_bytes = 500,
		.body_bytes = 10000,
		.idle_ns = s->idle_ns,
		.connections_max = (size_t)most,
		.grace_ns = s->grace_ns,
		.on_listen = on_listen,
	});
}

/* --- what clients ask for, and what they have to get --- */

struct request {
	const char *head;
	size_t body; /* bytes of number 1 behind the head */
	int status;
	size_t answer;   /* its body's length; SIZE_MAX: any */
	unsigned number; /* of its bytes; 0: any */
	bool last;       /* the server closes the connection */
};

static const struct request requests[] = {
	{ "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n", 0, 200, 5, 0, false },
	{ "GET /file HTTP/1.1\r\nHost: x\r\n\r\n", 0, 200, FILE_BYTES, 3, false },
	{ "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 0, 404, SIZE_MAX, 0, false },
	{ "GET /parts HTTP/1.1\r\nHost: x\r\n\r\n", 0, 200, 2100, 2, false },
	{ "GET /chunks HTTP/1.1\r\nHost: x\r\n\r\n", 0, 200, 2100, 2, false },
	{ "POST /sum HTTP/1.1\r\nHost: x\r\nContent-Length: 3000\r\n\r\n", 3000, 200, 4, 0, false },
	{ "POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", 100, 200, 5, 0, false },
	{ "GET /fail HTTP/1.1\r\nHost: x\r\n\r\n", 0, 500, SIZE_MAX, 0, false },
	{ "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 0, 200, 5, 0, true },
	{ "GET /hello HTTP/1.1\r\n\r\n", 0, 400, SIZE_MAX, 0, true },
	{ "nonsense\r\n\r\n", 0, 400, SIZE_MAX, 0, true },
	{ "POST /sum HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n", 0, 413, SIZE_MAX, 0,
	  true },
};

#define REQUESTS (sizeof(requests) / sizeof(requests[0]))

/* --- a client --- */

static inline int send_pieces(struct torc_stream *stream, const char *p, size_t len)
{
	bool pieces = one_in(3);
	int r = 0;

	while (len && !r) {
		size_t part = pieces ? 1 + dice((unsigned)len) : len;

		r = torc_stream_write(stream, p, part);
		p += part;
		len -= part;
		if (!r && pieces && one_in(3))
			r = do_sleep(dice(50000));
	}
	return r;
}

static inline int send_request(struct torc_stream *stream, const struct request *q)
{
	char body[3000];
	int r = send_pieces(stream, q->head, strlen(q->head));

	fill_bytes(body, q->body, 1, 0);
	return r ? r : send_pieces(stream, body, q->body);
}

/* A line without its end, into [size] bytes. 0, or why not: -EPIPE at the end of the stream. */
static inline int read_line(struct torc_stream *stream, char *line, size_t size)
{
	struct torc_slice view;
	int r = torc_stream_read_until(stream, '\n', size - 1, &view);

	if (r <= 0)
		return r ? r : -EPIPE;
	check_ge(view.len, 2);
	check_eq(view.data[view.len - 2], '\r');
	memcpy(line, view.data, view.len - 2);
	line[view.len - 2] = '\0';
	torc_stream_consume(stream, view.len);
	return 0;
}

static inline int read_part(struct torc_stream *stream, size_t len, const struct request *q,
			    size_t *got)
{
	char buf[1024];

	while (len) {
		size_t part = len < sizeof(buf) ? len : sizeof(buf);
		int r = torc_stream_read_exact(stream, buf, part);

		if (r < 0)
			return r;
		if (q->number)
			check_bytes(buf, part, q->number, *got);
		*got += part;
		len -= part;
	}
	return 0;
}

static inline int read_chunks(struct torc_stream *stream, const struct request *q, size_t *got)
{
	char line[100];
	size_t len;
	int r;

	do {
		r = read_line(stream, line, sizeof(line));
		if (r < 0)
			return r;
		len = strtoul(line, NULL, 16);
		r = read_part(stream, len, q, got);
		if (!r)
			r = read_line(stream, line, sizeof(line));
		if (!r)
			check_eq(line[0], '\0');
	} while (!r && len);
	return r;
}

/* Chaos in the server, such as a file that it cannot open, makes other answers of some. */
static inline bool status_fits(const struct request *q, int status)
{
	if (status == q->status)
		return true;
	return (status == 500 || status == 503 || status == 408) && !no_chaos(BREAKS | SLOWS);
}

static inline int read_answer(struct torc_stream *stream, const struct request *q, bool *ret_last)
{
	size_t length = SIZE_MAX, got = 0;
	bool chunked = false;
	char line[600];
	int status, r = read_line(stream, line, sizeof(line));

	if (r < 0)
		return r;
	check(!strncmp(line, "HTTP/1.1 ", 9));
	status = atoi(line + 9);
	check(status_fits(q, status));
	*ret_last = false;
	while (!(r = read_line(stream, line, sizeof(line))) && line[0]) {
		if (!strncasecmp(line, "Content-Length: ", 16))
			length = strtoul(line + 16, NULL, 10);
		chunked |= !strcasecmp(line, "Transfer-Encoding: chunked");
		*ret_last |= !strcasecmp(line, "Connection: close");
	}
	if (r < 0)
		return r;
	check(chunked != (length != SIZE_MAX));
	r = chunked ? read_chunks(stream, status == q->status ? q : &requests[0], &got)
		    : read_part(stream, length, status == q->status ? q : &requests[0], &got);
	if (!r && status == q->status && q->answer != SIZE_MAX)
		check_eq(got, q->answer);
	return r;
}

/* Nothing may follow what was the last answer. */
static inline int expect_end(struct torc_stream *stream)
{
	struct torc_slice view;
	int r = torc_stream_peek(stream, &view);

	check(r <= 0);
	return r;
}

/* Only a client that asks for the end and goes on may miss its answers. */
static inline bool asks_for_end(const struct request *q)
{
	return strstr(q->head, "Connection: close");
}

/* *ret_rude: it has no right to an answer to all that it has sent. */
static inline int converse(struct torc_stream *stream, bool *ret_rude)
{
	const struct request *asked[6];
	unsigned count = 1 + dice(6), at_once = one_in(2) ? count : 1;
	bool last = false;
	int r = 0;

	*ret_rude = false;

	for (unsigned i = 0; i < count && !r && !last; i += at_once) {
		for (unsigned n = 0; n < at_once && !r; n++) {
			asked[n] = &requests[dice(REQUESTS)];
			*ret_rude |= n && asks_for_end(asked[n - 1]);
			r = send_request(stream, asked[n]);
		}
		for (unsigned n = 0; n < at_once && !r && !last; n++) {
			r = read_answer(stream, asked[n], &last);
			if (!r && asked[n]->last)
				check(last);
		}
	}
	return r || !last ? r : expect_end(stream);
}

static inline int converse_patiently(struct serving *s, struct torc_stream *stream)
{
	bool rude;
	int r = converse(stream, &rude);

	/* A server's patience ends when everything takes longer. */
	return rude || !no_chaos(SLOWS) ? r : served_or_stopped(s, r);
}

/* A head that is never finished, or none. */
static inline int send_half(struct serving *s, struct torc_stream *stream)
{
	size_t len = dice(20);
	int r = torc_stream_write(stream, requests[0].head, len);

	return r ? r : idle_away(s, stream, len);
}

static inline int web_behave(struct serving *s, struct torc_stream *stream)
{
	bool rude;
	int r = 0;

	if (one_in(5)) {
		torc_within(some_time()) r = converse(stream, &rude);
		return r;
	}
	return one_in(6) ? send_half(s, stream) : converse_patiently(s, stream);
}

static inline int web_visit(struct serving *s, struct torc_stream *stream, unsigned number)
{
	int r = web_behave(s, stream);

	(void)number;
	if (one_in(4))
		(void)do_sleep(one_in(3) ? TORC_SECONDS(15) : some_time());
	return r;
}

static inline int web_client(struct serving *s)
{
	return visit(s, web_visit, 0);
}

/* --- the scenario --- */

static inline int make_file(void)
{
	char bytes[FILE_BYTES];
	int fd, r;

	fill_bytes(bytes, sizeof(bytes), 3, 0);
	r = torc_sys_mkdir("/web", 0755);
	if (r < 0)
		return -1;
	fd = torc_sys_open("/web/file", O_CREAT | O_WRONLY, 0644);
	if (fd < 0)
		return -1;
	r = torc_sys_write(fd, bytes, sizeof(bytes));
	torc_sys_close(fd);
	return r == (int)sizeof(bytes) ? torc_sys_open("/web", O_RDONLY | O_DIRECTORY, 0) : -1;
}

static inline int web_scenario(void *arg)
{
	struct web w = { .serving = { .serve = serve_web, .client = web_client } };
	struct torc_http_files_options o = { 0 };
	int r;

	(void)arg;
	o.root_fd = make_file();
	if (o.root_fd < 0)
		return 0;
	o.precompressed = one_in(2);
	o.no_cache = one_in(3);
	o.cache_file_bytes = one_in(2) ? FILE_BYTES - 1 : 0;
	o.revalidate_ns = some_time();
	r = torc_http_files_init(&w.files, &o);
	torc_sys_close(o.root_fd);
	if (r < 0)
		return 0;
	r = run_serving(&w.serving);
	torc_http_files_done(&w.files);
	return r;
}

#endif
