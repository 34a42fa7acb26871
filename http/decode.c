/*
 * http/decode.c - undo a content coding.
 */
#include <errno.h>

#include <torc/core/fiber.h>

#include "http/internal/coding.h"

/* What is looked at before others run, and the most that is given to a library at a time. */
#define PIECE_BYTES ((size_t)64 << 10)

const struct torc_http_coding *torc__http_coding_named(
	const struct torc_http_coding *const *codings, struct torc_slice name)
{
	for (; *codings; codings++) {
		const char *known = (*codings)->name;

		if (torc__http_slice_is_word(name, known) ||
		    (!strcmp(known, "gzip") && torc__http_slice_is_word(name, "x-gzip")))
			return *codings;
	}
	return NULL;
}

int torc__http_decoder_open(struct torc__http_decoder *d, const struct torc_http_coding *coding,
			    const struct torc__http_decode_limits *limits)
{
	*d = (struct torc__http_decoder){
		.limits = *limits,
		.budget.most = coding->decoding->most + TORC__HTTP_DECODE_OUT,
	};
	d->room = torc__http_budget_alloc(&d->budget, TORC__HTTP_DECODE_OUT);
	if (!d->room)
		return -ENOMEM;
	if (coding->decoding->open(d) < 0) {
		torc__http_budget_free(&d->budget, d->room);
		return -ENOMEM;
	}
	d->coding = coding;
	return 0;
}

void torc__http_decoder_close(struct torc__http_decoder *d)
{
	if (!d->coding)
		return;
	d->coding->decoding->close(d);
	torc__http_budget_free(&d->budget, d->room);
	d->coding = NULL;
}

static bool is_too_much(const struct torc__http_decoder *d)
{
	const struct torc__http_decode_limits *l = &d->limits;

	if (d->out > l->bytes)
		return true;
	return l->ratio && d->out > l->ratio_free && d->out / l->ratio > d->in;
}

static int begin_again(struct torc__http_decoder *d)
{
	const struct torc__http_decoding *decoding = d->coding->decoding;

	d->complete = false;
	return decoding->again ? decoding->again(d) : -EBADMSG;
}

/* Some of *in, into `room`. How many bytes there are, or a negative errno. */
static ssize_t step(struct torc__http_decoder *d, struct torc_slice *in)
{
	size_t given = in->len < PIECE_BYTES ? in->len : PIECE_BYTES, taken, made;
	struct torc__http_piece p = { in->data, given, d->room, TORC__HTTP_DECODE_OUT };
	int r = d->complete ? begin_again(d) : 0;

	if (!r)
		r = d->coding->decoding->run(d, &p);
	if (r < 0)
		return r;
	taken = given - p.in_len;
	made = TORC__HTTP_DECODE_OUT - p.out_len;
	in->data += taken;
	in->len -= taken;
	d->complete = r > 0;
	d->full = !d->complete && !p.out_len;
	d->in += taken;
	d->out += made;
	d->since += taken + made;
	if (given && !taken && !made && !d->complete)
		return -EBADMSG; /* a library that does nothing would do so for ever */
	return is_too_much(d) ? -EMSGSIZE : (ssize_t)made;
}

static int pause_if_due(struct torc__http_decoder *d)
{
	if (d->since < PIECE_BYTES)
		return 0;
	d->since = 0;
	return torc_yield();
}

int torc__http_decoder_run(struct torc__http_decoder *d, struct torc_slice *in,
			   struct torc_slice *ret_out)
{
	while (!d->error && (d->full || in->len)) {
		int r = pause_if_due(d);
		ssize_t made;

		if (r < 0)
			return r;
		made = step(d, in);
		if (made < 0)
			d->error = (int)made;
		if (made > 0) {
			*ret_out = (struct torc_slice){ d->room, (size_t)made };
			return 1;
		}
	}
	return d->error;
}

int torc__http_decoder_end(const struct torc__http_decoder *d)
{
	if (d->error)
		return d->error;
	return !d->in || (d->complete && !d->full) ? 0 : -EBADMSG;
}
