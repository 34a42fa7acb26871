/*
 * http/multipart.h - forms with files: bodies of type multipart/form-data (RFC 7578), part by part, as they come.
 *
 *	struct torc_http_multipart *m;
 *	struct torc_http_part part;
 *	struct torc_slice text;
 *
 *	r = torc_http_multipart_begin(x, NULL, &m);
 *	if (r < 0)
 *		return r;				415 or 400 by itself
 *	while ((r = torc_http_multipart_next(m, &part)) > 0) {
 *		if (part.has_filename)
 *			r = torc_http_multipart_save(m, directory, name_of_our_own, 0600, 10 << 20, NULL);
 *		else
 *			r = torc_http_multipart_read(m, 4096, &text);
 *		if (r < 0)
 *			return r;			413 if it is longer, 400 if it makes no sense
 *	}
 *	if (r < 0)
 *		return r;
 *
 * Nothing of the body is kept: a part is read with _peek and _consume, _read or _save, or what is left of it is skipped by the
 * next _next. The names of parts and files are whatever the client likes: never use one as a path.
 *
 * It is strict, where two readers could understand two things: lines end with CR LF; the body begins with the boundary; behind a boundary
 * come CR LF or "--" at once, without the blanks that mail allows; a boundary with more behind it is an error and not data; a part has a
 * Content-Disposition, form-data with a name, once; and none is encoded in base64 or the like. What follows the last
 * boundary is skipped.
 */
#ifndef TORC_HTTP_MULTIPART_H
#define TORC_HTTP_MULTIPART_H

#include <sys/types.h>

#include <torc/http/exchange.h>

TORC_BEGIN_DECLS

/* Zeroed means the defaults. More is 413. */
struct torc_http_multipart_limits {
	unsigned parts;      /* default 100 */
	size_t head_bytes;   /* of the fields of one part; default 4096, at most 65536 */
	uint64_t part_bytes; /* of data of one part; default: any */
	uint64_t
		bytes; /* of the body; default: the server's or the route's body_bytes, which is the most in any case */
};

struct torc_http_multipart;

/* A part; its views are valid until the next torc_http_multipart_next. */
struct torc_http_part {
	struct torc_slice name;
	/*
	 * As it was sent, but for \" and \\: browsers send a quote as %22, a CR as %0D and an LF as %0A, which is not
	 * undone. filename* is ignored, as RFC 7578, section 4.2, says.
	 */
	struct torc_slice filename;
	bool has_filename;
	struct torc_slice type; /* "text/plain" where it is not said */
	struct torc_slice head; /* all its fields: lines that end with CR LF */
};

/*
 * torc_http_multipart_begin - read the body of a request as a form.
 *
 *   @limits     may be NULL
 *   @ret_form   in the exchange's memory; nothing has to be closed
 *
 * Returns     0
 *             -EPROTOTYPE   its Content-Type is another one, or the body is compressed: 415
 *             -EBADMSG      it has no boundary of 1 to 70 of the characters that are allowed: 400
 *             -EMSGSIZE     it declares more than limits->bytes: 413
 *             -EINVAL       limits->head_bytes is beyond 65536
 *             -ENOMEM       as torc_http_alloc
 * These become those answers, when the handler returns them and has not answered.
 */
TORC_API TORC_MUST_CHECK int torc_http_multipart_begin(
	struct torc_http_exchange *x, const struct torc_http_multipart_limits *limits,
	struct torc_http_multipart **ret_form);

/*
 * torc_http_multipart_next - the next part.
 *
 * Returns     1           *ret_part is set
 *             0           there are no more
 *             -EBADMSG    it is malformed, or ends before its last boundary: 400
 *             -EMSGSIZE   more than a limit: 413
 *             or as torc_http_body_peek
 * Errors stay: a form that has failed goes on failing; but those of the caller's scope do not.
 *
 * Suspends    if it has not been received
 */
TORC_API TORC_MUST_CHECK int torc_http_multipart_next(struct torc_http_multipart *form,
						      struct torc_http_part *ret_part);

/*
 * torc_http_multipart_peek - see more of the part's data; torc_http_multipart_consume - be done with n bytes of what was seen.
 *
 *   @ret_view  valid until the next call about the form
 *
 * Returns     1   there are bytes; 0: the part has ended; or as torc_http_multipart_next
 * Suspends    if nothing is there
 */
TORC_API TORC_MUST_CHECK int torc_http_multipart_peek(struct torc_http_multipart *form,
						      struct torc_slice *ret_view);
TORC_API void torc_http_multipart_consume(struct torc_http_multipart *form, size_t n);

/*
 * torc_http_multipart_read - the rest of the part in one piece, with a NUL behind it that does not count.
 *
 *   @most      bytes; the exchange's memory_bytes must have room for four times as many
 *   @ret_data  valid until the exchange ends
 *
 * Returns     0
 *             -EMSGSIZE   it is longer: 413
 *             -ENOMEM     as torc_http_alloc
 *             or as torc_http_multipart_next
 * Suspends    until all of the part is there
 */
TORC_API TORC_MUST_CHECK int torc_http_multipart_read(struct torc_http_multipart *form, size_t most,
						      struct torc_slice *ret_data);

/*
 * torc_http_multipart_save - the rest of the part as a new file.
 *
 * Whatever fails, and when the call is cancelled, the file is removed again. It is not synchronised: torc_fdatasync.
 *
 *   @path   relative to dirfd (or AT_FDCWD); of your own making, not the client's
 *   @mode   permissions; the umask applies
 *   @most   bytes
 *   @ret_bytes  how many there were; may be NULL
 *
 * Returns     0
 *             -EEXIST     there is something of that name, which is left alone
 *             -EMSGSIZE   it is longer: 413
 *             -ENOSPC, -EDQUOT, -EFBIG, ...   as torc_openat and torc_pwrite_all
 *             or as torc_http_multipart_next
 * Suspends    until all of the part is there
 */
TORC_API TORC_MUST_CHECK int torc_http_multipart_save(struct torc_http_multipart *form, int dirfd,
						      const char *path, mode_t mode, uint64_t most,
						      uint64_t *ret_bytes);

/*
 * torc_http_part_field - another field of a part, in any case.
 *
 * Returns     true, or false: it has none
 */
TORC_API bool torc_http_part_field(const struct torc_http_part *part, const char *name,
				   struct torc_slice *ret_value);

/*
 * torc_http_part_basename - the file's name without the directories that some clients send with it, with either slash: to be shown, or kept in
 * a database.
 *
 * Returns     true
 *             false   there is none, or it is ".", ".." or empty then, or has control characters or is longer than 255 bytes
 */
TORC_API bool torc_http_part_basename(const struct torc_http_part *part,
				      struct torc_slice *ret_name);

TORC_END_DECLS

#endif
