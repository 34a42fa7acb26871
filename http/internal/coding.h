/*
 * http/internal/coding.h - content codings: how one compresses, and which a client would rather have.
 *
 * Each coding is a file of its own, which is all that refers to its library: a program that is linked statically and names
 * no coding needs none of the libraries.
 *
 *	accept.c                               Accept-Encoding
 *	coding.c                               the memory of an encoder
 *	coding_zlib.c, _brotli.c, _zstd.c      codings
 *	coding_all.c                           all of them as a list
 *	compress.c                             the step, which is a filter
 *	compress_head.c                        what it does to the fields of a response
 *	decompress.c                           bodies of requests
 */
#ifndef TORC_HTTP_INTERNAL_CODING_H
#define TORC_HTTP_INTERNAL_CODING_H

#include <torc/http/compress.h>

#include "http/internal/exchange.h"

/* What compresses one response. */
struct torc__http_encoder {
	const struct torc_http_coding *coding; /* NULL: it is not open */
	void *state;
	size_t bytes, most; /* of memory: that it has, and may have */
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
};

/* --- coding.c --- */

/* 0, or -ENOMEM: it would need more than `most` bytes, or there are none. */
int torc__http_encoder_open(struct torc__http_encoder *e, const struct torc_http_coding *coding,
			    int level, uint64_t length);
void torc__http_encoder_close(struct torc__http_encoder *e);

/* For the libraries. */
void *torc__http_encoder_alloc(struct torc__http_encoder *e, size_t bytes);
void torc__http_encoder_free(struct torc__http_encoder *e, void *p);

/* Bits of a window of `least` .. `most` bits in which so many bytes have room. */
int torc__http_window_bits(uint64_t length, int least, int most);

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
