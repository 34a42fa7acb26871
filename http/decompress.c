/*
 * http/decompress.c - bodies of requests that come compressed.
 */
#include <torc/http/compress.h>

#include <errno.h>

#include "http/internal/coding.h"

/* So much may come of nearly nothing. */
#define RATIO_FREE ((uint64_t)64 << 10)

#define RATIO 100

static const struct torc_http_coding *const default_codings[] = { &torc_http_gzip,
								  &torc_http_deflate, NULL };

struct decompressor {
	struct torc__http_source source;
	struct torc_http_exchange *x;
	struct torc__http_decoder decoder;
	struct torc_slice view; /* decoded bytes that were not consumed */
	uint64_t bytes;         /* the option */
};

/* A limit of the scope is not the body's. */
static int fail(struct decompressor *d, int r)
{
	return r == -ECANCELED || r == -ETIMEDOUT ? r : torc__http_fail_body(d->x, r);
}

/* 1: there is a view; 0: all that has come is decoded; or a negative errno. */
static int decode(struct decompressor *d, struct torc_slice *in)
{
	uint64_t most = d->x->body_limit;
	int r;

	d->decoder.limits.bytes = most < d->bytes ? most : d->bytes;
	r = torc__http_decoder_run(&d->decoder, in, &d->view);
	return r < 0 ? fail(d, r) : r;
}

/* Likewise, with more of the body. 1: there may be a view. */
static int decode_more(struct decompressor *d)
{
	struct torc_slice in;
	size_t len;
	int r = torc__http_raw_peek(d->x, &in);

	if (!r)
		r = torc__http_decoder_end(&d->decoder);
	else if (r > 0) {
		len = in.len;
		r = decode(d, &in);
		torc__http_raw_consume(d->x, len - in.len);
		return r < 0 ? r : 1;
	}
	return r == -EBADMSG ? fail(d, r) : r;
}

static int peek(struct torc__http_source *s, struct torc_http_exchange *x,
		struct torc_slice *ret_view)
{
	struct decompressor *d = (struct decompressor *)s;

	(void)x;
	while (!d->view.len) {
		int r = decode(d, &(struct torc_slice){ NULL, 0 });

		if (!r)
			r = decode_more(d);
		if (r <= 0)
			return r;
	}
	*ret_view = d->view;
	return 1;
}

static void consume(struct torc__http_source *s, struct torc_http_exchange *x, size_t n)
{
	struct decompressor *d = (struct decompressor *)s;

	(void)x;
	d->view.data += n;
	d->view.len -= n;
}

static void close_decoder(void *arg)
{
	struct decompressor *d = arg;

	d->x->source = NULL;
	torc__http_decoder_close(&d->decoder);
}

static int open_decoder(struct decompressor *d, const struct torc_http_coding *coding,
			uint64_t ratio)
{
	const struct torc__http_decode_limits limits = { d->bytes, ratio, RATIO_FREE };
	int r = torc__http_decoder_open(&d->decoder, coding, &limits);

	if (!r)
		r = torc_http_defer(d->x, close_decoder, d);
	if (r < 0) {
		torc__http_decoder_close(&d->decoder);
		return r;
	}
	d->x->source = &d->source;
	return 0;
}

/* --- the steps --- */

/* The coding of the body; false: there is none. */
static bool coding_of(const struct torc_http_exchange *x, struct torc_slice *ret_coding)
{
	struct torc_slice list, element, coding = { "", 0 };
	size_t at = 0, count = 0;

	while (torc_http_next_value(x, "Content-Encoding", &at, &list))
		while (torc_http_next_element(&list, &element)) {
			if (torc__http_slice_is_word(element, "identity"))
				continue;
			coding = element;
			count++;
		}
	/* Several: the name of none. */
	*ret_coding = count > 1 ? (struct torc_slice){ "", 0 } : coding;
	return count != 0;
}

static int refuse(struct torc_http_exchange *x, const char *accepted)
{
	int r = torc_http_add_field(x, "Accept-Encoding", accepted);

	return r ? r : torc_http_respond_text(x, 415, "This coding of a body is not understood.");
}

/* 415, with the names of those that are understood. */
static int refuse_other(struct torc_http_exchange *x, const struct torc_http_coding *const *codings)
{
	char names[64] = "";

	for (; *codings; codings++)
		if (strlen(names) + strlen((*codings)->name) + 3 <= sizeof(names)) {
			strcat(names, *names ? ", " : "");
			strcat(names, (*codings)->name);
		}
	return refuse(x, *names ? names : "identity");
}

int torc_http_decompress(struct torc_http_exchange *x, void *arg)
{
	static const struct torc_http_decompress_options defaults;
	const struct torc_http_decompress_options *o = arg ? arg : &defaults;
	const struct torc_http_coding *const *codings = o->codings ? o->codings : default_codings;
	const struct torc_http_coding *coding;
	struct torc_slice name;
	struct decompressor *d;
	int r;

	if (!coding_of(x, &name) || x->source || x->body_done)
		return torc_http_next(x);
	coding = torc__http_coding_named(codings, name);
	if (!coding)
		return refuse_other(x, codings);
	d = torc_http_alloc(x, sizeof(*d));
	if (!d)
		return -ENOMEM;
	*d = (struct decompressor){
		.source = { peek, consume },
		.x = x,
		.bytes = o->bytes ? o->bytes : TORC_NEVER,
	};
	r = open_decoder(d, coding, o->ratio ? o->ratio : RATIO);
	return r ? r : torc_http_next(x);
}

int torc_http_refuse_coded(struct torc_http_exchange *x, void *arg)
{
	struct torc_slice coding;

	(void)arg;
	return coding_of(x, &coding) ? refuse(x, "identity") : torc_http_next(x);
}
