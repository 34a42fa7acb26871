/*
 * http/internal/url.h - what taking URLs apart and putting them together share.
 */
#ifndef TORC_HTTP_INTERNAL_URL_H
#define TORC_HTTP_INTERNAL_URL_H

#include <torc/http/url.h>

/*
 * Text for a caller's memory of any size: counted to its end, written as far as there is room.
 *
 * A path is written from its end to its beginning, as only there it is known which segments a later ".." takes away; so it
 * starts at the end of the memory and is moved when it is complete.
 */
struct torc__url_out {
	char *text;
	size_t size;
	size_t front;  /* bytes at the start; more than size: those behind it are lost */
	size_t back;   /* bytes of an unfinished path at the end, likewise */
	char first[2]; /* of the unfinished path */
};

void torc__url_put(struct torc__url_out *o, const char *data, size_t len);
void torc__url_put_slice(struct torc__url_out *o, struct torc_slice s);

/* "//", userinfo, host and port. Normal: in lower case, IPv6 at its shortest, no port that is the scheme's. */
void torc__url_put_authority(struct torc__url_out *o, const struct torc_url *u, bool normal);

/* The length, or -EMSGSIZE, or -ENOSPC. */
int torc__url_finish(struct torc__url_out *o);

/* "http", "https", "ws" and "wss" have a host and a default port. */
bool torc__url_is_web(const struct torc_url *u);

/*
 * Take a URL or a relative reference apart; without a scheme it is one. @lax: path, query and fragment may have bytes that ought to
 * be escaped: torc__url_needs_escape tells them. Returns 0, -EINVAL, -EMSGSIZE.
 */
int torc__url_split(const char *text, size_t len, bool lax, struct torc_url *u);

/* Of a byte before @end in what was split; a '%' without two hexadecimal digits is one of them. */
bool torc__url_needs_escape(const char *p, const char *end);

#endif
