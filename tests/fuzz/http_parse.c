/*
 * http_parse.c - fuzz the parsers of heads and of URLs, and the chunked decoder.
 *
 * The input is taken for a head of a request, and of a response, for a URL and a reference to be resolved, and what follows a good
 * head of a request, or the whole of a bad one, for a chunked body.  Checked: all instruction sets agree, also with a plain parser written for the tests,
 * a refused prefix stays refused, views lie inside the input, and a chunked body means the same however
 * it is cut.
 *
 * With -DTORC_FUZZ_REPLAY it is a plain program that replays the files named as arguments.
 */
#include <torc/http/url.h>

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/internal/chunk.h"
#include "http/internal/parse.h"
#include "http/internal/scan.h"
#include "tests/http/reference.h"

#define FIELDS 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define require(condition)                                                              \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

struct result {
	int status;
	struct torc__http_head head;
	struct torc__http_field fields[FIELDS];
};

/* Which of the two kinds of heads. */
static bool response;

static void parse_with(struct result *r, enum torc__http_isa isa, const char *buf, size_t len)
{
	static const struct torc__http_limits limits = { 200, 1000, FIELDS };

	torc__http_scan_select(isa);
	memset(r, 0, sizeof(*r));
	r->head.fields = r->fields;
	r->head.field_capacity = FIELDS;
	r->status = (response ? torc__http_parse_response : torc__http_parse_request)(&r->head, buf,
										      len, &limits);
}

static void require_same(const struct result *a, const struct result *b)
{
	require(a->status == b->status);
	if (a->status <= 0)
		return;

	struct torc__http_head copy = b->head;

	/* Written or zeroed alike, padding included; only the arrays are two. */
	copy.fields = a->head.fields;
	require(memcmp(&copy, &a->head, sizeof(copy)) == 0);
	require(memcmp(a->fields, b->fields, sizeof(a->fields[0]) * a->head.field_count) == 0);
}

static void require_inside(struct torc_slice s, const char *buf, size_t len)
{
	require(s.data >= buf && s.data + s.len <= buf + len);
}

static void require_sane(const struct result *r, const char *buf, size_t len)
{
	const struct torc__http_head *h = &r->head;

	require((size_t)r->status <= len && h->field_count <= FIELDS);
	require(memcmp(buf + r->status - 4, "\r\n\r\n", 4) == 0);
	require(!(h->chunked && h->has_length) && h->content_length <= INT64_MAX);
	if (response) {
		require(h->status >= 100 && h->status <= 599 && h->minor <= 1);
		require_inside(h->reason, buf, len);
	} else {
		require(h->minor == 0 || h->authority.len > 0);
		require_inside(h->target, buf, len);
		require_inside(h->query, h->query.len ? buf : h->query.data, len);
	}
	for (unsigned i = 0; i < h->field_count; i++) {
		require(h->fields[i].name.len > 0);
		require_inside(h->fields[i].name, buf, len);
		require_inside(h->fields[i].value, buf, len);
		require(!memchr(h->fields[i].value.data, '\r', h->fields[i].value.len));
		require(!memchr(h->fields[i].value.data, '\n', h->fields[i].value.len));
		require(!memchr(h->fields[i].value.data, 0, h->fields[i].value.len));
	}
}

/* An exact allocation, so that the address sanitizer sees an over-read. */
static char *exact_copy(const char *buf, size_t len)
{
	char *copy = malloc(len ? len : 1);

	require(copy);
	return memcpy(copy, buf, len);
}

/*
 * The plain parser has no limits of bytes, so its verdict counts only when none was in the way; and it waits for the
 * end of a line that the other has refused.
 */
static void require_reference(const struct result *r, const char *buf, size_t len)
{
	static struct reference ref;
	const char *line = memmem(buf + (len > 2 ? 2 : 0), len - (len > 2 ? 2 : 0), "\r\n", 2);

	if (len >= 1000 || !line || line - buf > 200)
		return;
	(response ? reference_parse_response : reference_parse)(&ref, buf, len, FIELDS);
	require(ref.status == r->status || (ref.status == 0 && r->status < 0));
	if (r->status > 0) {
		const char *what = reference_difference(&ref, &r->head);

		if (what)
			fprintf(stderr, "%s\n", what);
		require(!what);
	}
}

static int fuzz_head(const char *buf, size_t len)
{
	static struct result scalar, vector;

	parse_with(&scalar, TORC__HTTP_ISA_SCALAR, buf, len);
	for (int isa = TORC__HTTP_ISA_SCALAR + 1; isa < TORC__HTTP_ISA_COUNT; isa++) {
		if (!torc__http_scan_select((enum torc__http_isa)isa))
			continue;
		parse_with(&vector, (enum torc__http_isa)isa, buf, len);
		require_same(&scalar, &vector);
	}
	if (scalar.status > 0)
		require_sane(&scalar, buf, len);
	require_reference(&scalar, buf, len);
	return scalar.status;
}

static void fuzz_prefix(const char *buf, size_t cut, int status)
{
	static struct result r;
	char *copy = exact_copy(buf, cut);

	parse_with(&r, TORC__HTTP_ISA_AUTO, copy, cut);
	require(r.status == status || (r.status == 0 && (status <= 0 || cut < (size_t)status)));
	free(copy);
}

struct body {
	int64_t status;
	size_t used, data_len;
	uint64_t hash;
};

static struct body decode(const char *buf, size_t len, size_t piece)
{
	static const struct torc__http_chunk_limits limits = { 4096, 64, 128, 4 };
	struct body b = { 0, 0, 0, 5381 };
	struct torc__http_chunk c;

	torc__http_chunk_init(&c, &limits);
	while (b.used < len && !torc__http_chunk_done(&c)) {
		size_t part = len - b.used < piece ? len - b.used : piece;
		struct torc_slice data;
		ssize_t used = torc__http_chunk_next(&c, buf + b.used, part, &data);

		if (used < 0) {
			b.status = used;
			b.used = 0;
			break;
		}
		require(used > 0 && (size_t)used <= part);
		require_inside(data, buf + b.used, (size_t)used);
		for (size_t i = 0; i < data.len; i++)
			b.hash = b.hash * 33 + (uint8_t)data.data[i];
		b.data_len += data.len;
		b.used += (size_t)used;
	}
	b.status = b.status ? b.status : torc__http_chunk_done(&c);
	return b;
}

static void fuzz_body(const char *buf, size_t len)
{
	struct body whole = decode(buf, len, SIZE_MAX), pieces = decode(buf, len, 1);

	require(whole.status == pieces.status && whole.used == pieces.used);
	require(whole.data_len == pieces.data_len && whole.hash == pieces.hash);
}

/* Text of @len bytes is the same in memory that just holds it, and too long for memory of one byte less. */
static void require_normal_form(const char *text, size_t len)
{
	char *exact = exact_copy(text, len + 1);

	require(torc_url_normalize(text, len, exact, len + 1) == (int)len);
	require(memcmp(exact, text, len) == 0);
	require(torc_url_normalize(text, len, exact, len) == -ENOSPC);
	free(exact);
}

static void fuzz_url(const char *buf, size_t len)
{
	static char out[TORC_URL_MAX + 1];
	const char base[] = "http://a/b/c?d";
	struct torc_url u;
	int n = torc_url_parse(buf, len, &u);

	if (n == 0) {
		n = torc_url_format(&u, out, sizeof(out));
		require(n > 0 && (size_t)n <= len && torc_url_parse(out, (size_t)n, &u) == 0);
	}
	n = torc_url_normalize(buf, len, out, sizeof(out));
	if (n > 0) {
		require(torc_url_parse(out, (size_t)n, &u) == 0);
		require_normal_form(out, (size_t)n);
	}
	n = torc_url_resolve(base, sizeof(base) - 1, buf, len, out, sizeof(out));
	if (n > 0 && !memcmp(out, "http://a/", 9))
		require(torc_url_parse(out, (size_t)n, &u) == 0);
}

static int fuzz_heads(const char *buf, size_t size, bool of_responses)
{
	int status;

	response = of_responses;
	status = fuzz_head(buf, size);
	for (unsigned i = 1; i < 8 && size > 0; i++)
		fuzz_prefix(buf, (size * i + i * i) / 8 % size, status);
	return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *buf = exact_copy((const char *)data, size);
	int status = fuzz_heads(buf, size, false);
	size_t head = status > 0 ? (size_t)status : 0;

	fuzz_heads(buf, size, true);
	fuzz_body(buf + head, size - head);
	fuzz_url(buf, size);
	free(buf);
	return 0;
}

#ifdef TORC_FUZZ_REPLAY
static void replay(const char *path)
{
	static uint8_t data[1 << 20];
	FILE *file = fopen(path, "rb");

	if (!file) {
		perror(path);
		exit(1);
	}
	LLVMFuzzerTestOneInput(data, fread(data, 1, sizeof(data), file));
	fclose(file);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	return 0;
}
#endif
