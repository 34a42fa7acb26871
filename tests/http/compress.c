/*
 * Compressed responses, as other decoders see them, and compressed bodies of requests.
 */
#include "tests/http/world.h"

#include <brotli/decode.h>
#include <brotli/encode.h>
#include <zlib.h>
#include <zstd.h>

#include <torc/http/compress.h>
#include <torc/http/filter.h>
#include <torc/http/form.h>
#include <torc/executor/offload.h>
#include <torc/core/fiber.h>

#include "core/internal/system.h"
#include "http/internal/coding.h"

TestSuite(http_compress, .timeout = 60);

#define LARGE ((size_t)1 << 20)

/* --- decoders that are not torc's --- */

static size_t unzip(int bits, const char *data, size_t len, char *to, size_t room)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)data,
		       .avail_in = (uInt)len,
		       .next_out = (Bytef *)to,
		       .avail_out = (uInt)room };
	int r;

	check_eq(inflateInit2(&z, bits), Z_OK);
	r = inflate(&z, Z_SYNC_FLUSH);
	check(r == Z_STREAM_END || r == Z_OK || r == Z_BUF_ERROR);
	inflateEnd(&z);
	return z.total_out;
}

static size_t decode(const char *coding, const char *data, size_t len, char *to, size_t room)
{
	size_t n = room;

	if (!strcmp(coding, "gzip"))
		return unzip(31, data, len, to, room);
	if (!strcmp(coding, "deflate"))
		return unzip(15, data, len, to, room);
	if (!strcmp(coding, "br")) {
		check_eq(BrotliDecoderDecompress(len, (const uint8_t *)data, &n, (uint8_t *)to),
			 BROTLI_DECODER_RESULT_SUCCESS);
		return n;
	}
	check(!strcmp(coding, "zstd"));
	{
		ZSTD_DStream *z = ZSTD_createDStream();
		ZSTD_inBuffer in = { data, len, 0 };
		ZSTD_outBuffer out = { to, room, 0 };

		check(!ZSTD_isError(ZSTD_decompressStream(z, &out, &in)));
		ZSTD_freeDStream(z);
		return out.pos;
	}
}

/* --- a server of texts --- */

/* Compressible, and different everywhere. */
static void fill_text(char *to, size_t len)
{
	char line[64];

	for (size_t i = 0, n = 0; i < len; i += n) {
		n = (size_t)snprintf(line, sizeof(line), "{\"id\":%zu,\"name\":\"item %zu\"},\n", i,
				     i * 7919 % 10007);
		n = n < len - i ? n : len - i;
		memcpy(to + i, line, n);
	}
}

static char text[LARGE], noise[20000], decoded[4 * LARGE];

static void fill(void)
{
	uint32_t seed = 1;

	fill_text(text, sizeof(text));
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (char)((seed = seed * 1664525 + 1013904223) >> 24);
}

static int in_parts(struct torc_http_exchange *x, size_t len, size_t part, uint64_t length)
{
	int r = torc_http_begin(x, 200, "text/css; charset=utf-8", length);

	for (size_t i = 0; !r && i < len; i += part)
		r = torc_http_write(x, text + i, part < len - i ? part : len - i);
	return r;
}

static int field_then(struct torc_http_exchange *x, const char *name, const char *value, int status)
{
	check_eq(torc_http_add_field(x, name, value), 0);
	return torc_http_respond(x, status, "text/plain", text, 2000);
}

static int answer(struct torc_http_exchange *x, void *arg)
{
	struct torc_slice path = torc_http_path(x);
	char name[64];

	(void)arg;
	check_lt(path.len, sizeof(name));
	memcpy(name, path.data, path.len);
	name[path.len] = '\0';
	if (!strncmp(name, "/json/", 6))
		return torc_http_respond_json(x, 200, text, strtoul(name + 6, NULL, 10));
	if (!strncmp(name, "/parts/", 7))
		return in_parts(x, LARGE, strtoul(name + 7, NULL, 10), TORC_NEVER);
	if (!strcmp(name, "/known"))
		return in_parts(x, 50000, 1000, 50000);
	if (!strcmp(name, "/noise"))
		return torc_http_respond(x, 200, "text/plain", noise, sizeof(noise));
	if (!strcmp(name, "/png"))
		return torc_http_respond(x, 200, "image/png", text, 2000);
	if (!strcmp(name, "/svg"))
		return torc_http_respond(x, 200, "Image/SVG+xml;charset=utf-8", text, 2000);
	if (!strcmp(name, "/none"))
		return torc_http_respond(x, 200, NULL, text, 2000);
	if (!strcmp(name, "/empty"))
		return torc_http_respond(x, 200, "text/plain", text, 0);
	if (!strcmp(name, "/coded"))
		return field_then(x, "content-encoding", "x-own", 200);
	if (!strcmp(name, "/range"))
		return field_then(x, "Content-Range", "bytes 0-1999/5000", 206);
	if (!strcmp(name, "/range200"))
		return field_then(x, "Content-Range", "bytes 0-1999/5000", 200);
	if (!strcmp(name, "/no-transform"))
		return field_then(x, "Cache-Control", "max-age=3, No-Transform", 200);
	if (!strcmp(name, "/vary"))
		return field_then(x, "Vary", "Origin", 200);
	if (!strcmp(name, "/varies"))
		return field_then(x, "vary", "Origin, accept-encoding", 200);
	if (!strcmp(name, "/star"))
		return field_then(x, "Vary", "*", 200);
	if (!strcmp(name, "/etag")) {
		check_eq(torc_http_add_field(x, "Accept-Ranges", "bytes"), 0);
		check_eq(torc_http_add_field(x, "Set-Cookie", "a=b"), 0);
		return field_then(x, "ETag", "\"abc\"", 200);
	}
	if (!strcmp(name, "/weak"))
		return field_then(x, "ETag", "W/\"abc\"", 200);
	if (!strcmp(name, "/304")) {
		check_eq(torc_http_add_field(x, "ETag", "\"abc\""), 0);
		return torc_http_respond(x, 304, NULL, NULL, 0);
	}
	if (!strcmp(name, "/204"))
		return torc_http_respond(x, 204, NULL, NULL, 0);
	if (!strcmp(name, "/error"))
		return torc_http_respond(x, 500, "text/html", text, 5000);
	if (!strcmp(name, "/full")) {
		while (torc_http_add_field(x, "X-Much", "0123456789012345678901234567890") == 0)
			;
		return torc_http_respond(x, 200, "text/plain", text, 2000);
	}
	return -ENOENT;
}

static const struct torc_http_compress_options all = { .codings = torc_http_codings_all };
static const struct torc_http_compress_options *chosen = &all;

static int serve_compressed(struct torc_http_exchange *x, void *arg)
{
	const struct torc_http_step steps[] = { { torc_http_compress, (void *)(uintptr_t)chosen },
						{ answer, arg } };

	return torc_http_run(x, steps, 2);
}

static void run_server(void (*client)(struct world *))
{
	fill();
	run_world_with(&(struct world){ 0 }, serve_compressed, client);
}

static int get(struct world *w, const char *method, const char *path, const char *accept,
	       struct reply *r)
{
	char request[512];

	snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: h\r\n%s%s%s\r\n", method, path,
		 accept ? "Accept-Encoding: " : "", accept ? accept : "", accept ? "\r\n" : "");
	return ask(w, request, r);
}

/* The coding of the answer; "" without one. */
static const char *coding_of(const struct reply *r)
{
	const char *coding = header(r, "Content-Encoding");

	return coding ? coding : "";
}

/* What is in the answer, decoded, is so much of the text. */
static void check_text(const struct reply *r, size_t len)
{
	char coding[32];

	snprintf(coding, sizeof(coding), "%s", coding_of(r));
	if (!*coding) {
		check_eq(r->len, len);
		check(!memcmp(r->body, text, len));
		return;
	}
	check_eq(decode(coding, r->body, r->len, decoded, sizeof(decoded)), len);
	check(!memcmp(decoded, text, len));
}

/* --- which coding --- */

static void negotiate(struct world *w)
{
	static const struct {
		const char *accept, *coding;
	} cases[] = {
		{ NULL, "" },
		{ "", "" },
		{ "gzip", "gzip" },
		{ "GZIP", "gzip" },
		{ "x-gzip", "gzip" },
		{ "deflate", "deflate" },
		{ "br", "br" },
		{ "zstd", "zstd" },
		{ "gzip, deflate, br, zstd", "br" },
		{ "gzip, deflate, zstd", "zstd" },
		{ "gzip, deflate", "gzip" },
		{ "*", "br" },
		{ "*;q=0", "" },
		{ "br;q=0, *", "zstd" },
		{ "br;q=0,zstd;q=0.0,*;q=0.1", "gzip" },
		{ "gzip;q=0", "" },
		{ "gzip;q=1.0, br;q=0.5", "gzip" },
		{ "gzip;q=0.5, br;q=0.501", "br" },
		{ "gzip;q=0.001", "gzip" },
		{ "deflate;q=0.3, br;q=0, zstd;q=0, gzip;q=0, *;q=0.5", "deflate" },
		{ "gzip ; q=0.8 , identity", "" },
		{ "gzip;q=0.5, identity;q=0.4", "gzip" },
		{ "identity;q=0", "" },
		{ "identity;q=0, gzip", "gzip" },
		{ "gzip;q=2", "" },
		{ "gzip;q=0.1234", "" },
		{ "gzip;q=-1", "" },
		{ "gzip;quality=1", "" },
		{ "gzipp", "" },
		{ "compress, bzip2", "" },
		{ ",,gzip,,", "gzip" },
	};
	struct reply r = { 0 };

	for (size_t i = 0; i < COUNT(cases); i++) {
		check_eq(get(w, "GET", "/json/2000", cases[i].accept, &r), 200);
		if (strcmp(coding_of(&r), cases[i].coding)) {
			fprintf(stderr, "%s: %s\n", cases[i].accept, coding_of(&r));
			abort();
		}
		check(!strcmp(header(&r, "Vary"), "Accept-Encoding"));
		check_text(&r, 2000);
	}
	free(r.body);
}

Test(http_compress, takes_what_the_client_wants_most)
{
	run_server(negotiate);
}

static void use_default(struct world *w)
{
	struct reply r = { 0 };

	check_eq(get(w, "GET", "/json/2000", "br, zstd", &r), 200);
	check(!strcmp(coding_of(&r), ""));
	check_eq(get(w, "GET", "/json/2000", "br, gzip", &r), 200);
	check(!strcmp(coding_of(&r), "gzip"));
	check_text(&r, 2000);
	free(r.body);
}

Test(http_compress, uses_gzip_by_default)
{
	chosen = NULL;
	run_server(use_default);
}

/* --- what is compressed --- */

static void decide(struct world *w)
{
	static const struct {
		const char *path;
		int status;
		const char *accept, *coding, *vary, *etag;
	} cases[] = {
		{ "/json/859", 200, "gzip", "", NULL, NULL },
		{ "/json/860", 200, "gzip", "gzip", "Accept-Encoding", NULL },
		{ "/json/100", 200, "gzip, identity;q=0", "gzip", "Accept-Encoding", NULL },
		{ "/noise", 200, "gzip", "", "Accept-Encoding", NULL },
		{ "/noise", 200, "br", "", "Accept-Encoding", NULL },
		{ "/png", 200, "gzip", "", NULL, NULL },
		{ "/svg", 200, "gzip", "gzip", "Accept-Encoding", NULL },
		{ "/none", 200, "gzip", "", NULL, NULL },
		{ "/empty", 200, "gzip", "", NULL, NULL },
		{ "/coded", 200, "gzip", "x-own", NULL, NULL },
		{ "/range", 206, "gzip", "", NULL, NULL },
		{ "/range200", 200, "gzip", "", NULL, NULL },
		{ "/no-transform", 200, "gzip", "", NULL, NULL },
		{ "/vary", 200, "gzip", "gzip", "Origin, Accept-Encoding", NULL },
		{ "/vary", 200, NULL, "", "Origin, Accept-Encoding", NULL },
		{ "/varies", 200, "gzip", "gzip", "Origin, accept-encoding", NULL },
		{ "/star", 200, "gzip", "gzip", "*", NULL },
		{ "/etag", 200, "gzip", "gzip", "Accept-Encoding", "W/\"abc\"" },
		{ "/etag", 200, NULL, "", "Accept-Encoding", "\"abc\"" },
		{ "/weak", 200, "gzip", "gzip", "Accept-Encoding", "W/\"abc\"" },
		{ "/304", 304, "gzip", "", "Accept-Encoding", "W/\"abc\"" },
		{ "/304", 304, NULL, "", "Accept-Encoding", "\"abc\"" },
		{ "/204", 204, "gzip", "", NULL, NULL },
		{ "/error", 500, "gzip", "gzip", "Accept-Encoding", NULL },
		{ "/missing", 404, "gzip", "", NULL, NULL },
	};
	struct reply r = { 0 };

	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *value;

		fprintf(stderr, "%s %s\n", cases[i].path, cases[i].accept);
		check_eq(get(w, "GET", cases[i].path, cases[i].accept, &r), cases[i].status);
		check(!strcmp(coding_of(&r), cases[i].coding));
		value = header(&r, "Vary");
		check(cases[i].vary ? value && !strcmp(value, cases[i].vary) : !value);
		value = header(&r, "ETag");
		check(cases[i].etag ? value && !strcmp(value, cases[i].etag) : !value);
		if (!strcmp(cases[i].coding, "gzip"))
			check(!header(&r, "Accept-Ranges"));
		if (!strcmp(cases[i].path, "/etag"))
			check(!strcmp(header(&r, "Set-Cookie"), "a=b"));
	}
	check_eq(get(w, "GET", "/etag", NULL, &r), 200);
	check(header(&r, "Accept-Ranges"));
	free(r.body);
}

/* Neither Vary nor Content-Encoding has room. */
static void fill_up(struct world *w)
{
	struct client c;

	dial(w, &c);
	say(&c, "GET /full HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n");
	while (!c.len || !strstr(c.data, "\r\n\r\n"))
		check(hear(&c));
	check(!strncmp(c.data, "HTTP/1.1 200 ", 13));
	check(!strstr(c.data, "Content-Encoding") && !strstr(c.data, "Vary"));
	hang_up(&c);
}

Test(http_compress, sends_it_plain_where_the_fields_have_no_room)
{
	run_server(fill_up);
}

Test(http_compress, leaves_alone_what_must_not_or_need_not_be_compressed)
{
	run_server(decide);
}

/* --- how --- */

static const char *const names[] = { "gzip", "deflate", "br", "zstd" };

static void whole(struct world *w)
{
	static const size_t sizes[] = { 860, 5000, 20000, 65536, 200000, 262144 };
	struct reply r = { 0 };

	for (size_t i = 0; i < COUNT(names) * COUNT(sizes); i++) {
		const char *name = names[i % COUNT(names)];
		size_t size = sizes[i / COUNT(names)];
		char path[32], head[4096];

		snprintf(path, sizeof(path), "/json/%zu", size);
		check_eq(get(w, "GET", path, name, &r), 200);
		check(!strcmp(coding_of(&r), name) && !r.chunked);
		check_eq(strtoul(header(&r, "Content-Length"), NULL, 10), r.len);
		check_lt(r.len, size * 2 / 3);
		check_text(&r, size);
		/* The same for HEAD, but for what is not sent. */
		memcpy(head, r.head, sizeof(head));
		memset(strstr(head, "Date: "), 'D', 35);
		check_eq(get(w, "HEAD", path, name, &r), 200);
		memset(strstr(r.head, "Date: "), 'D', 35);
		check(!strcmp(head, r.head));
	}
	free(r.body);
}

Test(http_compress, gives_a_whole_response_its_length)
{
	run_server(whole);
}

static void parts(struct world *w)
{
	static const char *const paths[] = { "/parts/100", "/parts/16384", "/parts/1048576",
					     "/json/1048576" };
	struct reply r = { 0 };

	for (size_t i = 0; i < COUNT(names) * COUNT(paths); i++) {
		const char *name = names[i % COUNT(names)];

		check_eq(get(w, "GET", paths[i / COUNT(names)], name, &r), 200);
		check(!strcmp(coding_of(&r), name) && r.chunked);
		check_lt(r.len, LARGE / 2);
		check_text(&r, LARGE);
		check_eq(get(w, "HEAD", paths[i / COUNT(names)], name, &r), 200);
		check(!strcmp(coding_of(&r), name) && r.chunked);
		check_eq(get(w, "GET", "/known", name, &r), 200);
		check(!strcmp(coding_of(&r), name) && r.chunked);
		check_text(&r, 50000);
	}
	/* To HTTP/1.0 the end of the connection ends it. */
	check_eq(ask(w, "GET /parts/5000 HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n", &r), 200);
	check(!strcmp(coding_of(&r), "gzip") && !r.chunked);
	check_text(&r, LARGE);
	free(r.body);
}

Test(http_compress, sends_what_comes_in_parts_in_chunks)
{
	run_server(parts);
}

static void levels(struct world *w)
{
	static const char *const types[] = { "application/*", NULL };
	static struct torc_http_compress_options o = { .codings = torc_http_codings_all,
						       .min_bytes = 50,
						       .types = types };
	static const int set[] = { -5, 1, 4, 6, 9, 99 };
	struct reply r = { 0 };

	chosen = &o;
	for (size_t i = 0; i < COUNT(set) * COUNT(names); i++) {
		o.zlib_level = o.brotli_level = o.zstd_level = set[i / COUNT(names)];
		check_eq(get(w, "GET", "/json/100000", names[i % COUNT(names)], &r), 200);
		check(!strcmp(coding_of(&r), names[i % COUNT(names)]));
		check_text(&r, 100000);
	}
	check_eq(get(w, "GET", "/json/300", "gzip", &r), 200);
	check(!strcmp(coding_of(&r), "gzip"));
	check_eq(get(w, "GET", "/svg", "gzip", &r), 200);
	check(!strcmp(coding_of(&r), ""));
	free(r.body);
}

Test(http_compress, has_levels_types_and_a_least_size)
{
	run_server(levels);
}

/* --- flush --- */

static int trickle(struct torc_http_exchange *x, struct world *w, const char *type, bool explicitly)
{
	int r = torc_http_flush(x);

	check_eq(r, -EINVAL);
	r = torc_http_begin(x, 200, type, TORC_NEVER);
	for (int i = 0; !r && i < 3; i++) {
		r = torc_http_write(x, text + 100 * i, 100);
		if (!r && explicitly)
			r = torc_http_flush(x);
		w->gate = false;
		while (!r && !w->gate)
			r = torc_sleep(TORC_SECONDS(1) / 1000);
	}
	if (!r)
		r = torc_http_end(x);
	check(r || torc_http_flush(x) == 0);
	return r;
}

static int trickle_it(struct torc_http_exchange *x, void *arg)
{
	if (torc_http_path_is(x, "/events"))
		return trickle(x, arg, "text/event-stream", false);
	return trickle(x, arg, "text/plain", true);
}

static int serve_trickle(struct torc_http_exchange *x, void *arg)
{
	const struct torc_http_step steps[] = { { torc_http_compress, (void *)(uintptr_t)chosen },
						{ trickle_it, arg } };

	return torc_http_run(x, steps, 2);
}

/* Take chunks off what was heard, and decode all that there is so far: until that is so long. */
static void hear_decoded(struct client *c, z_stream *z, size_t len)
{
	while (z->total_out < len) {
		char *line = c->len ? strstr(c->data, "\r\n") : NULL;
		size_t n = line ? strtoul(c->data, NULL, 16) : 0;
		size_t head = line ? (size_t)(line - c->data) + 2 : 0;

		if (!line || c->len < head + n + 2) {
			check(hear(c));
			continue;
		}
		z->next_in = (Bytef *)c->data + head;
		z->avail_in = (uInt)n;
		check_eq(inflate(z, Z_SYNC_FLUSH), Z_OK);
		drop(c, head + n + 2);
	}
	check_eq(z->total_out, len);
}

static void trickles(struct world *w)
{
	for (int i = 0; i < 2; i++) {
		z_stream z = { .next_out = (Bytef *)decoded, .avail_out = sizeof(decoded) };
		struct client c;

		check_eq(inflateInit2(&z, 31), Z_OK);
		dial(w, &c);
		say(&c, i ? "GET /events HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n"
			  : "GET /text HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n");
		while (!c.len || !strstr(c.data, "\r\n\r\n"))
			check(hear(&c));
		check(strstr(c.data, "Content-Encoding: gzip"));
		drop(&c, (size_t)(strstr(c.data, "\r\n\r\n") - c.data) + 4);
		for (size_t n = 1; n <= 3; n++) {
			hear_decoded(&c, &z, 100 * n);
			w->gate = true;
		}
		check(!memcmp(decoded, text, 300));
		inflateEnd(&z);
		hang_up(&c);
	}
}

Test(http_compress, lets_the_client_see_what_was_flushed)
{
	fill();
	run_world_with(&(struct world){ 0 }, serve_trickle, trickles);
}

/* --- others run meanwhile --- */

static int count_turns(void *arg)
{
	struct world *w = arg;

	while (!w->gate) {
		w->calls++;
		check_eq(torc_yield(), 0);
	}
	return 0;
}

static void share(struct world *w)
{
	struct torc_group group;
	struct reply r = { 0 };

	for (size_t i = 0; i < 2 * COUNT(names); i++) {
		struct world counter = { 0 };
		bool is_whole = i % 2;

		torc_group_enter(&group);
		check_eq(torc_group_spawn(&group, count_turns, &counter), 0);
		check_eq(get(w, "GET", is_whole ? "/json/262144" : "/json/1048576", names[i / 2],
			     &r),
			 200);
		counter.gate = true;
		check_eq(torc_group_wait(&group), 0);
		check_ge(counter.calls, is_whole ? 15 : 63);
	}
	free(r.body);
}

Test(http_compress, lets_other_fibers_run_in_between)
{
	run_server(share);
}

/* --- memory --- */

static void measure(const struct torc_http_coding *coding, int level, uint64_t length, size_t most)
{
	struct torc__http_encoder e;
	static char out[1 << 16];
	size_t peak = 0;
	int r;

	check_eq(torc__http_encoder_open(&e, coding, level, length), 0);
	for (size_t i = 0; i < sizeof(text); i += 16384) {
		struct torc__http_piece p = { .in = text + i, .in_len = 16384 };

		do {
			p.out = out;
			p.out_len = sizeof(out);
			r = coding->run(&e, &p, TORC__HTTP_OP_RUN);
		} while (r > 0);
		check_eq(r, 0);
		peak = e.budget.bytes > peak ? e.budget.bytes : peak;
	}
	torc__http_encoder_close(&e);
	check_eq(e.budget.bytes, 0);
	fprintf(stderr, "%s, level %d: %zu bytes\n", coding->name, level, peak);
	check_le(peak, most);
}

Test(http_compress, takes_no_more_memory_than_it_says)
{
	fill();
	/* As http/compress.h says. */
	measure(&torc_http_gzip, 0, TORC_NEVER, 300 << 10);
	measure(&torc_http_deflate, 0, TORC_NEVER, 300 << 10);
	measure(&torc_http_brotli, 0, TORC_NEVER, 1843 << 10);
	measure(&torc_http_zstd, 0, TORC_NEVER, 1331 << 10);
	/* Events. */
	measure(&torc_http_gzip, 1, 10000, 160 << 10);
	measure(&torc_http_brotli, 1, 10000, 100 << 10);
	measure(&torc_http_zstd, 1, 10000, 300 << 10);
	for (int level = 1; level <= 9; level++)
		for (size_t i = 0; torc_http_codings_all[i]; i++)
			measure(torc_http_codings_all[i], level, TORC_NEVER,
				TORC_HTTP_COMPRESS_BYTES);
}

/* Fail the n-th allocation, for each n: what is left is freed, and nothing goes wrong. */
static int refuse_at(const struct torc_http_coding *coding, size_t most)
{
	struct torc__http_encoder e = { .budget.most = most };
	static char out[1 << 16];
	int r = coding->open(&e, 5, TORC_NEVER);

	if (!r) {
		struct torc__http_piece p = { text, 100000, out, sizeof(out) };

		e.coding = coding;
		r = coding->run(&e, &p, TORC__HTTP_OP_FLUSH);
		if (r < 0) {
			check_eq(r, -ENOMEM);
			check_eq(coding->run(&e, &p, TORC__HTTP_OP_FLUSH), -ENOMEM);
		}
		torc__http_encoder_close(&e);
	}
	check_eq(e.budget.bytes, 0);
	return r;
}

Test(http_compress, gets_over_it_when_there_is_no_memory)
{
	fill();
	for (size_t i = 0; torc_http_codings_all[i]; i++) {
		size_t most = 0, refused = 0;

		while (refuse_at(torc_http_codings_all[i], most) == -ENOMEM) {
			refused++;
			most += 10000;
		}
		check_ge(refused, 20);
	}
}

/* --- a client that leaves --- */

static int endless(struct torc_http_exchange *x, void *arg)
{
	struct world *w = arg;
	int r;

	w->open++;
	r = torc_http_begin(x, 200, "text/plain", TORC_NEVER);
	while (!r)
		r = torc_http_write(x, noise, sizeof(noise));
	w->result = r;
	w->open--;
	check_lt(torc_http_flush(x), 0);
	return r;
}

static int serve_endless(struct torc_http_exchange *x, void *arg)
{
	const struct torc_http_step steps[] = { { torc_http_compress, (void *)(uintptr_t)chosen },
						{ endless, arg } };

	return torc_http_run(x, steps, 2);
}

static void leave(struct world *w)
{
	for (size_t i = 0; i < COUNT(names); i++) {
		char request[128];
		struct client c;

		snprintf(request, sizeof(request),
			 "GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: %s\r\n\r\n", names[i]);
		w->result = 0;
		dial(w, &c);
		say(&c, request);
		while (c.len < 20000)
			check(hear(&c));
		hang_up(&c);
		while (!w->result || w->open)
			check_eq(torc_yield(), 0);
		check_lt(w->result, 0);
	}
}

Test(http_compress, ends_when_the_client_leaves)
{
	fill();
	run_world_with(&(struct world){ 0 }, serve_endless, leave);
}

static int cancelled(struct torc_http_exchange *x, void *arg)
{
	struct torc_scope scope;

	(void)arg;
	torc_scope_enter(&scope, 0);
	check_eq(torc_http_respond_json(x, 200, text, 100000), -ETIMEDOUT);
	check_eq(torc_http_status(x), 0);
	torc_scope_leave(&scope);
	/* Once more, and what the first try has taken is not lost. */
	if (torc_http_path_is(x, "/again"))
		return torc_http_respond_json(x, 200, text, 100000);
	return torc_http_respond_text(x, 200, "short");
}

static int serve_cancelled(struct torc_http_exchange *x, void *arg)
{
	const struct torc_http_step steps[] = { { torc_http_compress, NULL }, { cancelled, arg } };

	return torc_http_run(x, steps, 2);
}

static void ask_cancelled(struct world *w)
{
	struct reply r = { 0 };

	check_eq(get(w, "GET", "/", "gzip", &r), 200);
	check(!strcmp(r.body, "short"));
	check_eq(get(w, "GET", "/again", "gzip", &r), 200);
	check(!strcmp(coding_of(&r), "gzip"));
	check_text(&r, 100000);
	free(r.body);
}

Test(http_compress, sends_nothing_in_a_scope_that_has_ended)
{
	fill();
	run_world_with(&(struct world){ 0 }, serve_cancelled, ask_cancelled);
}

/* --- curl and python as decoders, and static files --- */

static int serve_files(struct torc_http_exchange *x, void *arg)
{
	struct world *w = arg;
	const struct torc_http_step steps[] = { { torc_http_compress, NULL },
						{ torc_http_files_handle, &w->files } };

	return torc_http_run(x, steps, 2);
}

static int command(void *arg)
{
	return system(arg) ? -EIO : 0;
}

static void download(struct world *w)
{
	char line[512];

	for (int i = 0; i < 2; i++) {
		snprintf(line, sizeof(line),
			 i ? "curl -sf --compressed http%s/a.css | cmp -s - %s/a.css"
			   : "curl -sfi --raw -H 'Accept-Encoding: gzip' http%s/a.css | "
			     "tr -d '\\r' | grep -aq '^Content-Encoding: gzip$' && test -d %s",
			 strstr(w->address, "://"), w->root_path);
		check_eq(torc_offload(command, line), 0);
	}
}

Test(http_compress, is_read_by_curl_and_goes_with_static_files)
{
	char path[] = "/tmp/torc-compress-XXXXXX", file[64];
	struct world w = { .root_path = mkdtemp(path) };
	FILE *f;

	if (system("command -v curl >/dev/null"))
		cr_skip_test("there is no curl");
	fill();
	snprintf(file, sizeof(file), "%s/a.css", path);
	f = fopen(file, "w");
	check(f && fwrite(text, 1, 300000, f) == 300000 && fclose(f) == 0);
	run_world_with(&w, serve_files, download);
	unlink(file);
	rmdir(path);
}

/* --- bodies of requests --- */

static struct torc_http_decompress_options decoding;

static int count_body(struct torc_http_exchange *x, void *arg)
{
	uint64_t count = 0, sum = 0;
	struct torc_slice view;
	char said[64];
	int r;

	(void)arg;
	if (torc_http_path_is(x, "/read")) {
		r = torc_http_body_read(x, 100000, &view);
		if (r < 0)
			return r;
		check_eq(torc_http_body_read(x, 100000, &view), 0);
		return torc_http_respond(x, 200, "text/plain", view.data, view.len);
	}
	if (torc_http_path_is(x, "/limit")) {
		r = torc_http_limit_body(x, 5000);
		if (r < 0)
			return r;
	}
	if (torc_http_path_is(x, "/form")) {
		struct torc_http_form form;

		r = torc_http_form_read(x, 1000, &form);
		return r ? r : torc_http_respond_text(x, 200, form.count == 2 ? "two" : "?");
	}
	if (torc_http_path_is(x, "/ignore"))
		return torc_http_respond_text(x, 200, "ignored");
	if (torc_http_path_is(x, "/some")) {
		check_eq(torc_http_body_peek(x, &view), 1);
		torc_http_body_consume(x, 1);
		return torc_http_respond_text(x, 200, "some");
	}
	while ((r = torc_http_body_peek(x, &view)) > 0) {
		size_t n = view.len < 1000 ? view.len : 1000;

		for (size_t i = 0; i < n; i++)
			sum = sum * 31 + (unsigned char)view.data[i];
		count += n;
		torc_http_body_consume(x, n);
	}
	check_eq(torc_http_body_peek(x, &view), r);
	if (r < 0)
		return r;
	snprintf(said, sizeof(said), "%llu %llx", (unsigned long long)count,
		 (unsigned long long)sum);
	return torc_http_respond_text(x, 200, said);
}

static int serve_decoded(struct torc_http_exchange *x, void *arg)
{
	const struct torc_http_step refuse[] = { { torc_http_refuse_coded, NULL },
						 { count_body, arg } };
	const struct torc_http_step steps[] = { { torc_http_decompress, &decoding },
						{ torc_http_decompress, NULL },
						{ count_body, arg } };

	if (torc_http_path_is(x, "/plain-form"))
		return torc_http_form_read(x, 1000, &(struct torc_http_form){ 0 });
	if (torc_http_path_is(x, "/refuse"))
		return torc_http_run(x, refuse, 2);
	return torc_http_run(x, steps, 3);
}

static char packed[4 << 20];

static size_t pack_behind(size_t at, int bits, const char *data, size_t len)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)data,
		       .avail_in = (uInt)len,
		       .next_out = (Bytef *)packed + at,
		       .avail_out = (uInt)(sizeof(packed) - at) };

	check_eq(deflateInit2(&z, 9, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
	check_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return at + z.total_out;
}

static size_t pack(int bits, const char *data, size_t len)
{
	return pack_behind(0, bits, data, len);
}

/* In any coding. */
static size_t encode_behind(size_t at, const struct torc_http_coding *coding, const char *data,
			    size_t len)
{
	struct torc__http_piece p = { data, len, packed + at, sizeof(packed) - at };
	struct torc__http_encoder e;

	check_eq(torc__http_encoder_open(&e, coding, 0, TORC_NEVER), 0);
	check_eq(coding->run(&e, &p, TORC__HTTP_OP_FINISH), 0);
	torc__http_encoder_close(&e);
	return sizeof(packed) - p.out_len;
}

/* POST packed[len]; in chunks of `piece` bytes, unless that is 0. */
static int post(struct world *w, const char *path, const char *coding, size_t len, size_t piece,
		struct reply *r)
{
	struct client c;
	char head[512];
	int status;

	dial(w, &c);
	snprintf(head, sizeof(head),
		 piece ? "POST %s HTTP/1.1\r\nHost: h\r\n%s\r\nTransfer-Encoding: chunked\r\n\r\n"
		       : "POST %s HTTP/1.1\r\nHost: h\r\n%s\r\nContent-Length: %zu\r\n\r\n",
		 path, coding, len);
	say(&c, head);
	if (!piece && len)
		(void)!torc_send_all(c.fd, packed, len);
	for (size_t i = 0; piece && i < len; i += piece) {
		size_t n = piece < len - i ? piece : len - i;

		snprintf(head, sizeof(head), "%zx\r\n", n);
		say(&c, head);
		check_eq(torc_send_all(c.fd, packed + i, n), 0);
		say(&c, "\r\n");
	}
	if (piece)
		say(&c, "0\r\n\r\n");
	status = hear_reply(&c, r, false);
	hang_up(&c);
	return status;
}

#define GZIPPED "Content-Encoding: gzip"

static void expect_sum(const struct reply *r, const char *data, size_t len)
{
	uint64_t sum = 0;
	char said[64];

	for (size_t i = 0; i < len; i++)
		sum = sum * 31 + (unsigned char)data[i];
	snprintf(said, sizeof(said), "%zu %llx", len, (unsigned long long)sum);
	check(!strcmp(r->body, said));
}

static void upload(struct world *w)
{
	struct reply r = { 0 };
	size_t len = pack(31, text, 100);

	check_eq(post(w, "/", GZIPPED, len, 0, &r), 200);
	expect_sum(&r, text, 100);
	check_eq(post(w, "/", "content-encoding: identity, X-GZIP", len, 1, &r), 200);
	expect_sum(&r, text, 100);
	check_eq(post(w, "/read", GZIPPED, len, 0, &r), 200);
	check_eq(r.len, 100);
	check(!memcmp(r.body, text, 100));
	check_eq(post(w, "/ignore", GZIPPED, len, 0, &r), 200);
	check_eq(post(w, "/some", GZIPPED, len, 0, &r), 200);
	len = pack(15, text, LARGE);
	check_eq(post(w, "/", "Content-Encoding: deflate", len, 0, &r), 200);
	expect_sum(&r, text, LARGE);
	check_eq(post(w, "/", "Content-Encoding: deflate", len, 7777, &r), 200);
	expect_sum(&r, text, LARGE);
	check_eq(post(w, "/read", "Content-Encoding: deflate", len, 7777, &r), 413);
	check_eq(post(w, "/limit", "Content-Encoding: deflate", pack(15, text, 5000), 0, &r), 200);
	check_eq(post(w, "/limit", "Content-Encoding: deflate", pack(15, text, 5001), 0, &r), 413);
	/* Two members; and what is random grows. */
	len = pack_behind(pack(31, text, 1000), 31, text + 1000, 2000);
	check_eq(post(w, "/", GZIPPED, len, 0, &r), 200);
	expect_sum(&r, text, 3000);
	check_eq(post(w, "/", GZIPPED, len, 1, &r), 200);
	expect_sum(&r, text, 3000);
	len = pack(31, noise, sizeof(noise));
	check_eq(post(w, "/", GZIPPED, len, 0, &r), 200);
	expect_sum(&r, noise, sizeof(noise));
	/* Without the frame that belongs to it. */
	len = pack(-15, text, 3000);
	check_eq(post(w, "/", "Content-Encoding: deflate", len, 1, &r), 200);
	expect_sum(&r, text, 3000);
	/* Forms, when there is somebody to decode them. */
#define FORM "\r\nContent-Type: application/x-www-form-urlencoded"
	len = pack(31, "a=b&c=d", 7);
	check_eq(post(w, "/form", GZIPPED FORM, len, 0, &r), 200);
	check(!strcmp(r.body, "two"));
	check_eq(post(w, "/plain-form", GZIPPED FORM, len, 0, &r), 415);
	/* Plain ones go through. */
	memcpy(packed, "plain", 5);
	check_eq(post(w, "/", "X: y", 5, 0, &r), 200);
	expect_sum(&r, "plain", 5);
	check_eq(post(w, "/", "Content-Encoding: identity", 5, 0, &r), 200);
	check_eq(post(w, "/refuse", "Content-Encoding: identity", 5, 0, &r), 200);
	check_eq(post(w, "/refuse", "X: y", 5, 0, &r), 200);
	check_eq(post(w, "/", GZIPPED, 0, 0, &r), 200);
	free(r.body);
}

Test(http_compress, decodes_bodies_of_requests)
{
	fill();
	run_world_with(&(struct world){ 0 }, serve_decoded, upload);
}

static void upload_nonsense(struct world *w)
{
	static const char *const codings[] = { "br",   "gzip, gzip", "gzip, br",
					       "zstd", "xgzip",      "\"gzip\"" };
	struct reply r = { 0 };
	size_t len = pack(31, text, 3000);

	for (size_t i = 0; i < COUNT(codings); i++) {
		char field[64];

		snprintf(field, sizeof(field), "Content-Encoding: %s", codings[i]);
		check_eq(post(w, "/", field, len, 0, &r), 415);
		check(!strcmp(header(&r, "Accept-Encoding"), "gzip, deflate"));
	}
	check_eq(post(w, "/", GZIPPED "\r\n" GZIPPED, len, 0, &r), 415);
	check_eq(post(w, "/refuse", GZIPPED, len, 0, &r), 415);
	check(!strcmp(header(&r, "Accept-Encoding"), "identity"));
	/* Cut short anywhere, also between the two parts of the sum. */
	for (size_t n = 1; n < len; n += n < 20 || n + 20 > len ? 1 : 50)
		check_eq(post(w, "/", GZIPPED, n, 0, &r), 400);
	/* Damaged, followed by something, of the other kind. */
	packed[len - 6] ^= 1;
	check_eq(post(w, "/", GZIPPED, len, 0, &r), 400);
	len = pack(31, text, 3000);
	packed[len] = 'x';
	check_eq(post(w, "/", GZIPPED, len + 1, 0, &r), 400);
	len = pack(15, text, 3000);
	check_eq(post(w, "/", "Content-Encoding: deflate", pack_behind(len, 15, text, 10), 0, &r),
		 400);
	check_eq(post(w, "/", GZIPPED, len, 0, &r), 400);
	memset(packed, 0, 1000);
	check_eq(post(w, "/", GZIPPED, 1000, 0, &r), 400);
	free(r.body);
}

Test(http_compress, refuses_bodies_that_make_no_sense)
{
	fill();
	run_world_with(&(struct world){ 0 }, serve_decoded, upload_nonsense);
}

/* A thousandfold, up to the limits. */
static void upload_bombs(struct world *w)
{
	struct reply r = { 0 };
	char *zeros = calloc(1, 32 << 20);
	size_t len;

	check(zeros);
	len = pack(31, zeros, 32 << 20);
	check_lt(len, 40000);
	check_eq(post(w, "/", GZIPPED, len, 0, &r), 413);
	check_eq(post(w, "/", GZIPPED, len, 1000, &r), 413);
	check_eq(post(w, "/read", GZIPPED, len, 0, &r), 413);
	/* A little of it is fine. */
	len = pack(31, zeros, 60000);
	check_eq(post(w, "/", GZIPPED, len, 0, &r), 200);
	len = pack(31, zeros, 70000);
	check_eq(post(w, "/", GZIPPED, len, 0, &r), 413);
	decoding.ratio = 2000;
	check_eq(post(w, "/", GZIPPED, len, 0, &r), 200);
	len = pack(31, zeros, 32 << 20);
	check_eq(post(w, "/", GZIPPED, len, 0, &r), 413); /* the server's limit */
	decoding.bytes = 69999;
	len = pack(31, zeros, 70000);
	check_eq(post(w, "/", GZIPPED, len, 0, &r), 413);
	free(zeros);
	free(r.body);
}

Test(http_compress, refuses_bombs)
{
	struct world w = { .options.body_bytes = 16 << 20 };

	fill();
	run_world_with(&w, serve_decoded, upload_bombs);
}

/* --- codings that a server was asked to decode --- */

static void upload_codings(struct world *w)
{
	struct reply r = { 0 };

	for (size_t i = 0; torc_http_codings_all[i]; i++) {
		size_t len = encode_behind(0, torc_http_codings_all[i], text, LARGE);
		char field[64];

		snprintf(field, sizeof(field), "Content-Encoding: %s",
			 torc_http_codings_all[i]->name);
		check_eq(post(w, "/", field, len, 0, &r), 200);
		expect_sum(&r, text, LARGE);
		check_eq(post(w, "/", field, len, 999, &r), 200);
		expect_sum(&r, text, LARGE);
		check_eq(post(w, "/", field, len - 1, 0, &r), 400);
		check_eq(post(w, "/read", field, len, 0, &r), 413);
		check_eq(post(w, "/some", field, len, 0, &r), 200);
		check_eq(post(w, "/limit", field, len, 0, &r), 413);
	}
	check_eq(post(w, "/", "Content-Encoding: compress", 10, 0, &r), 415);
	check(!strcmp(header(&r, "Accept-Encoding"), "br, zstd, gzip, deflate"));
	free(r.body);
}

Test(http_compress, decodes_the_codings_that_it_is_given)
{
	fill();
	decoding.codings = torc_http_codings_all;
	run_world_with(&(struct world){ 0 }, serve_decoded, upload_codings);
}

/* --- a decoder by itself --- */

static const struct torc__http_decode_limits generous = { TORC_NEVER, 0, 0 };

/* All of packed[len], in pieces, into `decoded`: the length, or a negative errno. */
static long decode_with(const struct torc_http_coding *coding,
			const struct torc__http_decode_limits *limits, size_t len, size_t piece)
{
	struct torc__http_decoder d;
	struct torc_slice out;
	size_t n = 0;
	int r = 0;

	check_eq(torc__http_decoder_open(&d, coding, limits), 0);
	for (size_t i = 0; i < len && r >= 0; i += piece) {
		struct torc_slice in = { packed + i, piece < len - i ? piece : len - i };

		while ((r = torc__http_decoder_run(&d, &in, &out)) > 0) {
			check(out.len && out.len <= TORC__HTTP_DECODE_OUT);
			check_le(n + out.len, sizeof(decoded));
			memcpy(decoded + n, out.data, out.len);
			n += out.len;
		}
		check(r < 0 || !in.len);
	}
	check_le(d.budget.bytes, d.budget.most);
	if (!r)
		r = torc__http_decoder_end(&d);
	else
		check_eq(torc__http_decoder_end(&d), r);
	torc__http_decoder_close(&d);
	torc__http_decoder_close(&d);
	check_eq(d.budget.bytes, 0);
	return r < 0 ? r : (long)n;
}

static void expect_text(const struct torc_http_coding *coding, size_t len, size_t piece,
			size_t expected)
{
	memset(decoded, 0, expected);
	check_eq(decode_with(coding, &generous, len, piece), expected);
	check(!memcmp(decoded, text, expected));
}

static int decode_pieces(void *arg)
{
	static const size_t pieces[] = { SIZE_MAX / 2, 7777, 97 };

	(void)arg;
	for (size_t i = 0; torc_http_codings_all[i]; i++) {
		const struct torc_http_coding *coding = torc_http_codings_all[i];
		size_t len = encode_behind(0, coding, text, LARGE);

		for (size_t j = 0; j < COUNT(pieces); j++)
			expect_text(coding, len, pieces[j], LARGE);
		expect_text(coding, 0, 1, 0);
		expect_text(coding, encode_behind(0, coding, text, 0), 1, 0);
		expect_text(coding, encode_behind(0, coding, text, 5000), 1, 5000);
	}
	/* What comes as several, and what has nothing in it. */
	for (size_t i = 0; i < 2; i++) {
		const struct torc_http_coding *coding = i ? &torc_http_zstd : &torc_http_gzip;
		size_t len = encode_behind(0, coding, text, 3000);

		len = encode_behind(len, coding, "", 0);
		len = encode_behind(len, coding, text + 3000, 20000);
		expect_text(coding, len, 1, 23000);
		expect_text(coding, len, 1 << 20, 23000);
	}
	memcpy(packed, "\x50\x2a\x4d\x18\x03\0\0\0abc", 11); /* a frame to be skipped */
	expect_text(&torc_http_zstd, encode_behind(11, &torc_http_zstd, text, 100), 1, 100);
	expect_text(&torc_http_deflate, pack(-15, text, LARGE), 7777, LARGE);
	expect_text(&torc_http_deflate, pack(-15, noise, 0), 1, 0);
	return 0;
}

Test(http_compress, decodes_whatever_the_pieces)
{
	fill();
	run(decode_pieces, NULL);
}

static int decode_garbled(void *arg)
{
	uint64_t seed = 7;

	(void)arg;
	for (size_t i = 0; torc_http_codings_all[i]; i++) {
		const struct torc_http_coding *coding = torc_http_codings_all[i];
		size_t len = encode_behind(0, coding, text, 2000);

		for (size_t n = 1; n < len; n++)
			check_eq(decode_with(coding, &generous, n, 50), -EBADMSG);
		for (size_t behind = 1; behind < 12; behind++) {
			memset(packed + len, 'x', behind);
			check_eq(decode_with(coding, &generous, len + behind, 1), -EBADMSG);
			check_eq(decode_with(coding, &generous, len + behind, 9999), -EBADMSG);
		}
		/* Any byte may be any other: it is garbled, or means something else. */
		for (size_t n = 0; n < 3000; n++) {
			long r;

			len = encode_behind(0, coding, text, 300);
			for (size_t j = 0; j <= n % 3; j++)
				packed[next_random(&seed) % len] = (char)next_random(&seed);
			r = decode_with(coding, &(struct torc__http_decode_limits){ 100000, 0, 0 },
					len, 1 + n % 70);
			check(r >= 0 || r == -EBADMSG || r == -EMSGSIZE);
		}
	}
	/* A dictionary that nobody has. */
	memcpy(packed, "\x78\xbb\0\0\0\0\x03\0", 8);
	check_eq(decode_with(&torc_http_deflate, &generous, 8, 8), -EBADMSG);
	return 0;
}

Test(http_compress, decodes_nothing_that_is_garbled)
{
	fill();
	run(decode_garbled, NULL);
}

static int decode_bombs(void *arg)
{
	char *zeros = calloc(1, 4 * LARGE);

	(void)arg;
	check(zeros);
	for (size_t i = 0; torc_http_codings_all[i]; i++) {
		const struct torc_http_coding *coding = torc_http_codings_all[i];
		struct torc__http_decode_limits limits = { 4 * LARGE, 100, 65536 };
		size_t len = encode_behind(0, coding, zeros, 4 * LARGE);

		check_eq(decode_with(coding, &generous, len, 100), 4 * LARGE);
		check_eq(decode_with(coding, &limits, len, len), -EMSGSIZE);
		limits.ratio_free = 4 * LARGE;
		check_eq(decode_with(coding, &limits, len, len), 4 * LARGE);
		limits.bytes--;
		check_eq(decode_with(coding, &limits, len, len), -EMSGSIZE);
	}
	free(zeros);
	/* Windows of 128 MiB. */
	memcpy(packed, "\x28\xb5\x2f\xfd\0\x88\1\0\0", 9);
	check_eq(decode_with(&torc_http_zstd, &generous, 9, 9), -EMSGSIZE);
	memcpy(packed, "\x11\x1b\x03", 3);
	check_eq(decode_with(&torc_http_brotli, &generous, 3, 3), -EBADMSG);
	return 0;
}

Test(http_compress, decodes_no_more_than_its_limits)
{
	fill();
	run(decode_bombs, NULL);
}

/* The largest windows that there can be. The encoders of others use them. */
static int decode_large(void *arg)
{
	ZSTD_CCtx *z = ZSTD_createCCtx();
	size_t len;

	(void)arg;
	check(z);
	ZSTD_CCtx_setParameter(z, ZSTD_c_windowLog, 23);
	ZSTD_CCtx_setParameter(z, ZSTD_c_contentSizeFlag, 0);
	{
		ZSTD_inBuffer in = { text, LARGE, 0 };
		ZSTD_outBuffer out = { packed, sizeof(packed), 0 };

		while (in.pos < in.size)
			check(!ZSTD_isError(ZSTD_compressStream2(z, &out, &in, ZSTD_e_continue)));
		check_eq(ZSTD_compressStream2(z, &out, &in, ZSTD_e_end), 0);
		len = out.pos;
	}
	ZSTD_freeCCtx(z);
	expect_text(&torc_http_zstd, len, len, LARGE);
	len = sizeof(packed);
	check(BrotliEncoderCompress(5, 24, BROTLI_MODE_GENERIC, LARGE, (const uint8_t *)text, &len,
				    (uint8_t *)packed));
	expect_text(&torc_http_brotli, len, 1000, LARGE);
	return 0;
}

Test(http_compress, decodes_large_windows)
{
	fill();
	run(decode_large, NULL);
}

static int decode_in_little(void *arg)
{
	(void)arg;
	for (size_t i = 0; torc_http_codings_all[i]; i++) {
		const struct torc_http_coding *coding = torc_http_codings_all[i];
		struct torc__http_decoder d = { .limits = generous };
		size_t len = encode_behind(0, coding, text, 100000), most = 0;
		int r, refused = 0;

		do {
			struct torc_slice in = { packed, len }, out;

			d = (struct torc__http_decoder){ .limits = generous, .budget.most = most };
			d.room = torc__http_budget_alloc(&d.budget, TORC__HTTP_DECODE_OUT);
			r = d.room ? coding->decoding->open(&d) : -ENOMEM;
			if (!r) {
				d.coding = coding;
				while ((r = torc__http_decoder_run(&d, &in, &out)) > 0)
					;
				torc__http_decoder_close(&d);
			} else {
				torc__http_budget_free(&d.budget, d.room);
			}
			check_eq(d.budget.bytes, 0);
			check(!r || r == -ENOMEM);
			refused += r < 0;
			most += 4096;
		} while (r < 0);
		check_ge(refused, 8);
	}
	return 0;
}

Test(http_compress, decodes_only_with_memory)
{
	fill();
	run(decode_in_little, NULL);
}

/* In a scope that has ended it says so each 64 KiB, and goes on afterwards. */
static int decode_cancelled(void *arg)
{
	(void)arg;
	for (size_t i = 0; torc_http_codings_all[i]; i++) {
		struct torc_slice in = { packed,
					 encode_behind(0, torc_http_codings_all[i], text, LARGE) };
		struct torc_group group;
		struct torc__http_decoder d;
		struct world counter = { 0 };
		struct torc_slice out;
		struct torc_scope scope;
		size_t n = 0;
		int r;

		check_eq(torc__http_decoder_open(&d, torc_http_codings_all[i], &generous), 0);
		torc_scope_enter(&scope, TORC_NEVER);
		torc_scope_cancel(&scope);
		while ((r = torc__http_decoder_run(&d, &in, &out)) > 0)
			n += out.len;
		check_eq(r, -ECANCELED);
		check(n < 65536 + TORC__HTTP_DECODE_OUT);
		check_eq(torc_scope_leave(&scope), -ECANCELED);
		torc_group_enter(&group);
		check_eq(torc_group_spawn(&group, count_turns, &counter), 0);
		while ((r = torc__http_decoder_run(&d, &in, &out)) > 0)
			n += out.len;
		counter.gate = true;
		check_eq(torc_group_wait(&group), 0);
		check_ge(counter.calls, 12);
		check_eq(r, 0);
		check_eq(n, LARGE);
		check_eq(torc__http_decoder_end(&d), 0);
		torc__http_decoder_close(&d);
	}
	return 0;
}

Test(http_compress, decodes_in_turn_with_others_and_stops_when_it_is_cancelled)
{
	fill();
	run(decode_cancelled, NULL);
}

Test(http_compress, knows_codings_by_name)
{
	static const char *const none[] = { "", "gz", "gzip ", "x-br", "x-gzi", "identity" };

#define NAMED(name) \
	torc__http_coding_named(torc_http_codings_all, (struct torc_slice){ name, strlen(name) })
	check(NAMED("gzip") == &torc_http_gzip);
	check(NAMED("X-GZip") == &torc_http_gzip);
	check(NAMED("BR") == &torc_http_brotli);
	check(NAMED("zstd") == &torc_http_zstd);
	check(NAMED("Deflate") == &torc_http_deflate);
	for (size_t i = 0; i < COUNT(none); i++)
		check(!NAMED(none[i]));
}
