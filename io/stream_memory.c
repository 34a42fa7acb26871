/*
 * io/stream_memory.c - two streams with nothing but memory between them.
 *
 * Each direction is a piece of memory that both ends know. The writer's end of turn hands what is to be sent over to it,
 * as it is when the reader has taken all, and the reader takes it into its spill when it needs more. So bytes that are shown
 * are never touched from the other end.
 */
#include <errno.h>
#include <string.h>

#include "core/internal/system.h"
#include "io/internal/stream.h"

/* Freed by the end that leaves last. */
struct torc__stream_memory {
	char *data; /* a chunk, or NULL */
	uint32_t len, capacity;
	bool ended;                          /* the writer's shutdown or close */
	struct torc_stream *reader, *writer; /* NULL: it is closed */
};

/* --- reading --- */

static void drop(struct torc__stream_memory *m, struct torc__buffers *b)
{
	torc__chunk_give(b, m->data, m->capacity);
	m->data = NULL;
	m->len = m->capacity = 0;
}

/* The whole piece becomes the spill. */
static void take_piece(struct torc_stream *s, struct torc__stream_memory *m)
{
	torc__chunk_give(s->buffers, s->spill, s->spill_capacity);
	s->spill = m->data;
	s->spill_offset = 0;
	s->spill_len = m->len;
	s->spill_capacity = m->capacity;
	m->data = NULL;
	m->len = m->capacity = 0;
}

static int copy_piece(struct torc_stream *s, struct torc__stream_memory *m)
{
	int r = torc__stream_spill(s, m->len);

	if (r < 0)
		return r;
	memcpy(s->spill + s->spill_offset + s->spill_len, m->data, m->len);
	s->spill_len += m->len;
	drop(m, s->buffers);
	return 0;
}

static int memory_arm(struct torc_stream *s)
{
	struct torc__stream_memory *m = s->in;
	int r = 0;

	if (!m->data) {
		s->rx_eof = m->ended;
		return m->ended;
	}
	if (s->spill_len)
		r = copy_piece(s, m);
	else
		take_piece(s, m);
	if (r < 0)
		return r;
	if (m->writer && torc__stream_unsent(m->writer))
		torc__stream_defer(m->writer);
	return 1;
}

/* --- writing --- */

/* Behind what waits for the reader; 0 or -ENOMEM. */
static int append(struct torc__stream_memory *m, struct torc__buffers *b, const char *data,
		  uint32_t len)
{
	uint32_t capacity;
	char *chunk;

	if (m->len + len > m->capacity) {
		chunk = torc__chunk_take(b, m->len + len, &capacity);
		if (!chunk)
			return -ENOMEM;
		if (m->len)
			memcpy(chunk, m->data, m->len);
		torc__chunk_give(b, m->data, m->capacity);
		m->data = chunk;
		m->capacity = capacity;
	}
	memcpy(m->data + m->len, data, len);
	m->len += len;
	return 0;
}

/* As much as may wait there. Returns how much, or -ENOMEM. */
static int hand_over(struct torc_stream *s, struct torc__stream_memory *m)
{
	uint32_t len = s->sending_len - s->sending_offset;
	int r = 0;

	if (len > TORC__TX_HIGH - m->len)
		len = TORC__TX_HIGH - m->len;
	if (m->data || len < s->sending_len) {
		r = append(m, s->buffers, s->sending + s->sending_offset, len);
	} else {
		m->data = s->sending;
		m->len = len;
		m->capacity = s->sending_capacity;
		s->sending = NULL;
	}
	return r < 0 ? r : (int)len;
}

static void memory_send(struct torc_stream *s)
{
	struct torc__stream_memory *m = s->out;
	int r;

	if (!m->reader) {
		torc__stream_sent(s, -EPIPE);
		return;
	}
	if (m->len == TORC__TX_HIGH)
		return; /* memory_arm comes back to it */
	r = hand_over(s, m);
	torc__slot_wake(&m->reader->rx_wait);
	torc__stream_sent(s, r);
}

static int memory_shutdown(struct torc_stream *s)
{
	s->out->ended = true;
	if (s->out->reader)
		torc__slot_wake(&s->out->reader->rx_wait);
	return 0;
}

/* --- open and close --- */

static void leave(struct torc__stream_memory *m, struct torc__buffers *b)
{
	if (m->reader || m->writer)
		return;
	drop(m, b);
	torc__free(m);
}

static void memory_close(struct torc_stream *s)
{
	struct torc__stream_memory *in = s->in, *out = s->out;

	memory_shutdown(s);
	out->writer = NULL;
	leave(out, s->buffers);
	in->reader = NULL;
	drop(in, s->buffers);
	/* Who waits for room there is to find that nobody reads. */
	if (in->writer && torc__stream_unsent(in->writer))
		torc__stream_defer(in->writer);
	leave(in, s->buffers);
}

static void memory_moved(struct torc_stream *s)
{
	s->in->reader = s;
	s->out->writer = s;
}

static const struct torc__stream_kind memory_kind = {
	.arm = memory_arm,
	.send = memory_send,
	.shutdown = memory_shutdown,
	.close = memory_close,
	.moved = memory_moved,
};

int torc_stream_pair(struct torc_stream *a, struct torc_stream *b)
{
	struct torc__buffers *buffers = torc__buffers(torc__self()->loop);
	struct torc__stream_memory *there = torc__calloc(1, sizeof(*there));
	struct torc__stream_memory *back = torc__calloc(1, sizeof(*back));

	if (!buffers || !there || !back) {
		torc__free(there);
		torc__free(back);
		return -ENOMEM;
	}
	torc__stream_init(a, &memory_kind, buffers, -1, -1);
	torc__stream_init(b, &memory_kind, buffers, -1, -1);
	*there = (struct torc__stream_memory){ .writer = a, .reader = b };
	*back = (struct torc__stream_memory){ .writer = b, .reader = a };
	a->out = b->in = there;
	b->out = a->in = back;
	return 0;
}
