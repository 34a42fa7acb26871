/*
 * http/internal/multipart.h - the parser of multipart bodies (RFC 2046, section 5.1), which knows nothing of exchanges.
 *
 *	BEGIN ── "--boundary" ──> EDGE ── CRLF ──> HEAD ── an empty line ──> DATA ── CRLF "--boundary" ──> EDGE
 *	                           └── "--" ──> END
 *
 * A delimiter has a CR at its beginning and nowhere else. So where a match fails, the next can begin at the byte
 * that failed, and at none before: each byte is looked at once or twice, however the input is cut.
 */
#ifndef TORC_HTTP_INTERNAL_MULTIPART_H
#define TORC_HTTP_INTERNAL_MULTIPART_H

#include <stdbool.h>
#include <stdint.h>

#include <torc/core/slice.h>
#include <torc/http/multipart.h>

/* RFC 2046, section 5.1.1; and what comes before it in a delimiter: CRLF "--". */
#define TORC__BOUNDARY_MAX  70
#define TORC__DELIMITER_MAX (TORC__BOUNDARY_MAX + 4)

enum torc__multipart_state {
	TORC__MULTIPART_BEGIN,
	TORC__MULTIPART_EDGE,
	TORC__MULTIPART_HEAD,
	TORC__MULTIPART_DATA,
	TORC__MULTIPART_END,
};

enum torc__multipart_event {
	TORC__MULTIPART_MORE = 1, /* all input was used */
	TORC__MULTIPART_PART,     /* a part has begun: head[head_len] */
	TORC__MULTIPART_BYTES,    /* some of its data */
	TORC__MULTIPART_PART_END,
	TORC__MULTIPART_DONE, /* what follows is of no interest */
};

struct torc__multipart {
	uint8_t state;
	uint8_t delimiter_len, matched;
	uint8_t borrowed; /* how much of what has matched is no data if it is no delimiter */
	uint8_t edge;     /* the first byte behind a delimiter; 0: none yet */
	char delimiter[TORC__DELIMITER_MAX];
	char *head; /* [head_capacity], and as much again for torc__multipart_head; caller's */
	size_t head_len, head_capacity;
};

/* The value of a Content-Type. 0, -EPROTOTYPE: it is another type, -EBADMSG: without a proper boundary. */
int torc__multipart_init(struct torc__multipart *m, struct torc_slice type);

/*
 * The next thing in the input.
 *
 *   @ret_used  how much of it is done with, when *ret_data is
 *   @ret_data  of TORC__MULTIPART_BYTES: in the input, or in m
 *
 * Returns an enum torc__multipart_event, -EBADMSG, or -EMSGSIZE: a head is too long
 */
int torc__multipart_next(struct torc__multipart *m, const char *data, size_t len, size_t *ret_used,
			 struct torc_slice *ret_data);

/* What a head says: views into it, and behind it, where as much room is needed again. 0 or -EBADMSG. */
int torc__multipart_head(char *head, size_t len, struct torc_http_part *ret_part);

#endif
