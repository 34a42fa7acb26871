/*
 * Compressed responses, as other decoders see them, and compressed bodies of requests.
 */
#include "tests/http/world.h"

#include <brotli/decode.h>
#include <zlib.h>
#include <zstd.h>

#include <torc/http/compress.h>
#include <torc/http/filter.h>

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
		memset(strstr(head, "Date: "), 'D', 30);
		check_eq(get(w, "HEAD", path, name, &r), 200);
		memset(strstr(r.head, "Date: "), 'D', 30);
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

	check_eq(torc__http_encoder_open(&e, coding, level, length), 0);
	for (size_t i = 0; i < sizeof(text); i += 16384) {
		struct torc__http_piece p = { .in = text + i, .in_len = 16384 };

		do {
			p.out = out;
			p.out_len = sizeof(out);
		} while (coding->run(&e, &p, TORC__HTTP_OP_RUN) > 0);
		peak = e.bytes > peak ? e.bytes : peak;
	}
	torc__http_encoder_close(&e);
	check_eq(e.bytes, 0);
	fprintf(stderr, "%s, level %d: %zu bytes\n", coding->name, level, peak);
	if (!getenv("NOCHECK"))
		check_le(peak, most);
}

Test(http_compress, takes_no_more_memory_than_it_says)
{
	fill();
	measure(&torc_http_gzip, 0, TORC_NEVER, 290 << 10);
	measure(&torc_http_deflate, 0, TORC_NEVER, 290 << 10);
	measure(&torc_http_brotli, 0, TORC_NEVER, 1331 << 10);
	measure(&torc_http_zstd, 0, TORC_NEVER, 1126 << 10);
	for (int level = 1; level <= 9; level++)
		for (size_t i = 0; torc_http_codings_all[i]; i++)
			measure(torc_http_codings_all[i], level, TORC_NEVER,
				TORC_HTTP_COMPRESS_BYTES);
}
