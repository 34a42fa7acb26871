/*
 * multipart.c - fuzz the parser of multipart bodies.
 *
 * The first line of the input is the boundary, with which it is a body. Checked: it means the same however it is cut; views lie inside the
 * input, or in the delimiter; a head is read without going beyond it.
 *
 * With -DTORC_FUZZ_REPLAY it is a plain program that replays the files named as arguments.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/internal/multipart.h"

#define HEAD 128

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define require(condition)                                                              \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

/* What a body has said. */
struct meaning {
	int result;
	size_t parts, ends, data_len;
	uint64_t hash;
};

static void mix(struct meaning *m, struct torc_slice s)
{
	for (size_t i = 0; i < s.len; i++)
		m->hash = m->hash * 33 + (uint8_t)s.data[i];
	m->hash = m->hash * 33 + 256;
}

static void read_head(struct meaning *m, const char *head, size_t len)
{
	/* As much room again, and not a byte more. */
	char *copy = malloc(2 * len + 1);
	struct torc_http_part part;
	int r;

	require(copy);
	memcpy(copy, head, len);
	r = torc__multipart_head(copy, len, &part);
	m->hash = m->hash * 33 + (uint64_t)(r + 1000);
	if (!r) {
		require(part.name.data >= copy && part.name.data + part.name.len <= copy + 2 * len);
		mix(m, part.name);
		mix(m, part.filename);
		mix(m, part.type);
	}
	free(copy);
}

static void take(struct meaning *m, const struct torc__multipart *p, int event,
		 struct torc_slice data)
{
	switch (event) {
	case TORC__MULTIPART_PART:
		m->parts++;
		read_head(m, p->head, p->head_len);
		break;
	case TORC__MULTIPART_BYTES:
		require(data.len);
		m->data_len += data.len;
		for (size_t i = 0; i < data.len; i++)
			m->hash = m->hash * 33 + (uint8_t)data.data[i];
		break;
	case TORC__MULTIPART_PART_END:
		m->ends++;
		m->hash = m->hash * 33 + 257;
		break;
	}
}

/* One piece, of memory of its own. Returns what ended it: 0, DONE or an error. */
static int feed(struct meaning *m, struct torc__multipart *p, const char *piece, size_t len)
{
	char *copy = malloc(len);
	size_t at = 0;
	int r = 0;

	require(copy);
	memcpy(copy, piece, len);
	while (at < len) {
		struct torc_slice data = { NULL, 0 };
		size_t used = SIZE_MAX;

		r = torc__multipart_next(p, copy + at, len - at, &used, &data);
		if (r < 0)
			break;
		require(used <= len - at);
		require(r != TORC__MULTIPART_MORE || used == len - at);
		if (r == TORC__MULTIPART_BYTES && data.data != copy + at)
			require(data.data >= p->delimiter &&
				data.data + data.len <= p->delimiter + p->delimiter_len);
		take(m, p, r, data);
		at += used;
		if (r == TORC__MULTIPART_DONE)
			break;
		r = 0;
	}
	free(copy);
	return r;
}

static struct meaning parse(const char *type, size_t type_len, const char *body, size_t len,
			    size_t piece)
{
	char head[2 * HEAD];
	struct torc__multipart p = { .head = head, .head_capacity = HEAD };
	struct meaning m = { .hash = 5381 };

	m.result = torc__multipart_init(&p, (struct torc_slice){ type, type_len });
	for (size_t at = 0; !m.result && at < len; at += piece)
		m.result = feed(&m, &p, body + at, piece < len - at ? piece : len - at);
	return m;
}

static void require_same(const struct meaning *a, const struct meaning *b)
{
	require(a->result == b->result);
	require(a->parts == b->parts && a->ends == b->ends);
	require(a->data_len == b->data_len && a->hash == b->hash);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char prefix[] = "multipart/form-data; boundary=";
	const uint8_t *line = memchr(data, '\n', size);
	size_t boundary = line ? (size_t)(line - data) : 0,
	       type_len = sizeof(prefix) - 1 + boundary;
	const char *body = (const char *)data + boundary + 1;
	struct meaning whole;
	char *type;

	if (!line)
		return 0;
	size -= boundary + 1;
	type = malloc(type_len);
	require(type);
	memcpy(type, prefix, sizeof(prefix) - 1);
	memcpy(type + sizeof(prefix) - 1, data, boundary);
	whole = parse(type, type_len, body, size, size ? size : 1);
	/* A failure ends all: where it is noticed, the same has been said before. */
	for (size_t piece = 1; piece < 12; piece += piece) {
		struct meaning m = parse(type, type_len, body, size, piece);

		require_same(&whole, &m);
	}
	free(type);
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
