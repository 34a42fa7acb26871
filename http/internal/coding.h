/*
 * http/internal/coding.h - content codings: how one compresses, which a client would rather have, and how one is undone.
 *
 * Each coding is a file of its own, which is all that refers to its library: a program that is linked statically and names
 * no coding needs none of the libraries.
 *
 *	accept.c                               Accept-Encoding
 *	coding.c                               the memory of an encoder or decoder
 *	coding_zlib.c, _brotli.c, _zstd.c      codings
 *	coding_all.c                           all of them as a list
 *	compress.c                             the step, which is a filter
 *	compress_head.c                        what it does to the fields of a response
 *	decode.c                               undo a coding, whoever has sent it
 *	decode_zlib.c, _brotli.c, _zstd.c      how that is done
 *	decompress.c                           bodies of requests
 */
#ifndef TORC_HTTP_INTERNAL_CODING_H
#define TORC_HTTP_INTERNAL_CODING_H

#include <torc/http/compress.h>

#include "http/internal/exchange.h"

/* Memory for a library: bytes that it has, and may have. */
struct torc__http_budget {
	size_t bytes, most;
};

/* What compresses one response. */
struct torc__http_encoder {
	const struct torc_http_coding *coding; /* NULL: it is not open */
	void *state;
	struct torc__http_budget budget;
};

/* What is still to be compressed, and the room that is left for it. */
struct torc__http_piece {
	const char *in;
	size_t in_len;
	char *out;
	size_t out_len;
};

enum torc__http_op {
	TORC__HTTP_OP_RUN,    /* take the input, and hold back what you like */
	TORC__HTTP_OP_FLUSH,  /* hold nothing back */
	TORC__HTTP_OP_FINISH, /* there will be no more */
};

struct torc_http_coding {
	const char *name;
	int level_min, level_max, level_default;
	/* `length` of the input, or TORC_NEVER. 0 or -ENOMEM; then nothing is left to be closed. */
	int (*open)(struct torc__http_encoder *e, int level, uint64_t length);
	/* 0: done; 1: it needs more room, and is to be called again; or -ENOMEM. */
	int (*run)(struct torc__http_encoder *e, struct torc__http_piece *p, enum torc__http_op op);
	void (*close)(struct torc__http_encoder *e);
	const struct torc__http_decoding *decoding;
};

/* --- coding.c --- */

/* NULL: that would be more than it may have, or there is none. */
void *torc__http_budget_alloc(struct torc__http_budget *b, size_t bytes);
void torc__http_budget_free(struct torc__http_budget *b, void *p);

/* 0, or -ENOMEM: it would need more than `most` bytes, or there are none. */
int torc__http_encoder_open(struct torc__http_encoder *e, const struct torc_http_coding *coding,
			    int level, uint64_t length);
void torc__http_encoder_close(struct torc__http_encoder *e);

/* Bits of a window of `least` .. `most` bits in which so many bytes have room. */
int torc__http_window_bits(uint64_t length, int least, int most);

/* --- decode.c --- */

/*
 * A body that comes compressed is decoded piece by piece, as it comes:
 *
 *	r = torc__http_decoder_open(&d, coding, &limits);
 *	for (;;) {
 *		while ((r = torc__http_decoder_run(&d, &in, &out)) > 0)
 *			use out
 *		if (r < 0)
 *			fail
 *		in = more of it; at its end: break
 *	}
 *	r = torc__http_decoder_end(&d);
 *	torc__http_decoder_close(&d);
 */
struct torc__http_decode_limits {
	uint64_t bytes; /* decoded; TORC_NEVER: any */
	/* Decoded bytes for each that came, beyond the first ratio_free of those decoded; 0: any. */
	uint64_t ratio, ratio_free;
};

/* Bytes that are handed out at a time. */
#define TORC__HTTP_DECODE_OUT ((size_t)16 << 10)

struct torc__http_decoder {
	const struct torc_http_coding *coding; /* NULL: it is not open */
	void *state;
	struct torc__http_budget budget;
	struct torc__http_decode_limits limits; /* may be changed meanwhile */
	uint64_t in, out;                       /* bytes so far */
	size_t since;                           /* bytes that were looked at since others ran */
	char *room;                             /* [TORC__HTTP_DECODE_OUT] */
	int error;                              /* sticks */
	bool full;                              /* there may be more without further input */
	bool complete;                          /* what has come so far is whole */
};

/* How a coding is undone. */
struct torc__http_decoding {
	size_t most; /* memory that this can take */
	/* 0, or -ENOMEM; then nothing is left to be closed. */
	int (*open)(struct torc__http_decoder *d);
	/* 0: there may be more; 1: this was the end; -EBADMSG; -EMSGSIZE: it would need too large a window; or -ENOMEM. */
	int (*run)(struct torc__http_decoder *d, struct torc__http_piece *p);
	/* Behind the end there are bytes: another of the kind begins. 0, or -EBADMSG. NULL: nothing may follow. */
	int (*again)(struct torc__http_decoder *d);
	void (*close)(struct torc__http_decoder *d);
};

extern const struct torc__http_decoding torc__http_decoding_gzip, torc__http_decoding_deflate,
	torc__http_decoding_brotli, torc__http_decoding_zstd;

/* 0 or -ENOMEM. A decoder that is zeroed, or was not opened, may be closed. */
int torc__http_decoder_open(struct torc__http_decoder *d, const struct torc_http_coding *coding,
			    const struct torc__http_decode_limits *limits);

/*
 * Decode some of *in, from whose front it takes what it has used. Call it with nothing in it at first, if bytes that are to be
 * had without more input are to come before one waits for that.
 *
 *   @ret_out  at least a byte, valid until the next call
 *
 * Returns     1           *ret_out is set
 *             0           all of *in was taken, and it needs more
 *             -EBADMSG    garbled, or there is something behind its end
 *             -EMSGSIZE   beyond the limits, or it would need too large a window
 *             -ENOMEM
 *             -ECANCELED, -ETIMEDOUT   the scope; it can go on later: all other errors stick
 * Suspends    as torc_yield, after each 64 KiB
 */
int torc__http_decoder_run(struct torc__http_decoder *d, struct torc_slice *in,
			   struct torc_slice *ret_out);

/* The input has ended, when the last call returned 0: 0, or -EBADMSG: cut short. No bytes at all are fine, whatever the coding. */
int torc__http_decoder_end(const struct torc__http_decoder *d);
void torc__http_decoder_close(struct torc__http_decoder *d);

/* The coding of a name, in any case, in a list that ends with NULL; "x-gzip" is gzip (RFC 9110, section 8.4.1.3). NULL: it has none. */
const struct torc_http_coding *torc__http_coding_named(
	const struct torc_http_coding *const *codings, struct torc_slice name);

/* --- accept.c --- */

/* The q of "q=0.5" in thousandths; anything else counts as not wanted at all, which is safe. */
int torc__http_q(struct torc_slice text);

struct torc__http_choice {
	const struct torc_http_coding *coding; /* NULL: leave it as it is */
	bool refuses_identity;                 /* rather than that, any of the codings */
};

/* The coding of a list, in order of preference, that the client wants most: RFC 9110, section 12.5.3. */
struct torc__http_choice torc__http_choose(const struct torc_http_exchange *x,
					   const struct torc_http_coding *const *codings);

/* --- compress_head.c --- */

/* The value of an added field; *at 0 at first. */
bool torc__http_added(const struct torc_http_exchange *x, const char *name, size_t *at,
		      struct torc_slice *ret_value);

/* Is `element` in one of the lists of these fields? */
bool torc__http_added_has(const struct torc_http_exchange *x, const char *name,
			  const char *element);

/* Room for the edits below: -ENOSPC or -ENOMEM. Then they cannot fail. */
int torc__http_head_room(struct torc_http_exchange *x);
void torc__http_add_vary(struct torc_http_exchange *x);
void torc__http_weaken_etag(struct torc_http_exchange *x);
void torc__http_mark_coded(struct torc_http_exchange *x, const char *coding);

#endif
