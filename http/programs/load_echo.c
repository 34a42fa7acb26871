#include "http/programs/load.h"

#include <string.h>

/* What comes back is what was sent: the train itself, from the answers that are complete on. */
static int take(struct load_connection *c, struct torc_slice in)
{
	const struct load *load = c->loop->load;
	size_t at = c->done * load->size + c->part_bytes;
	size_t left = c->count * load->size - at;

	if (in.len > left || memcmp(in.data, load->train.data + at, in.len) != 0)
		return load_fail(c, LOAD_MALFORMED, 0);
	load_consume(c, in.len);
	at += in.len;
	c->part_bytes = at % load->size;
	load_answered(c, (unsigned)(at / load->size) - c->done, 0);
	return 0;
}

int load_read_echo(struct load_connection *c)
{
	struct torc_slice in;
	int r = 0;

	c->part_bytes = 0;
	while (!r && c->done < c->count) {
		r = torc_stream_peek(&c->stream, &in);
		r = r > 0 ? take(c, in) : load_ended(c, r, c->part_bytes != 0);
	}
	return r;
}
