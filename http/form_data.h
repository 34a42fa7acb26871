/*
 * http/form_data.h - forms with files to send: bodies of type multipart/form-data (RFC 7578), as browsers make them.
 *
 *	struct torc_http_form_data form;
 *
 *	torc_http_form_data_init(&form);
 *	r = torc_http_form_data_add_text(&form, "title", "Holidays");
 *	if (!r)
 *		r = torc_http_form_data_add_file(&form, "photo", NULL, NULL, AT_FDCWD, "beach.jpg");
 *	if (!r)
 *		...		send torc_http_form_data_type(&form), torc_http_form_data_length(&form) and what
 *				torc_http_form_data_write writes
 *	torc_http_form_data_done(&form);
 *
 * A form is put together once and can be sent any number of times, also by several fibers at a time: its length is known before, and files are
 * read as they are sent, 64 KiB at a time. (To read such a body: http/multipart.h.)
 *
 * Between the parts is a boundary of 128 random bits, so that nobody who chooses what is in one can end it. In names, a quote is sent as %22, a CR as
 * %0D and an LF as %0A, as browsers do, and a backslash as %5C, since some servers take it for the beginning of an escape and others do not. All other
 * bytes go as they are, and should be UTF-8.
 */
#ifndef TORC_HTTP_FORM_DATA_H
#define TORC_HTTP_FORM_DATA_H

#include <torc/core/api.h>

TORC_BEGIN_DECLS

/* The longest name of a part or a file, and the longest type. */
#define TORC_HTTP_FORM_NAME_MAX 1024

struct torc__http_form_part;

/* Caller's memory, private. A form that was initialised must not be moved. */
struct torc_http_form_data {
	struct torc__http_form_part *first, **end;
	uint64_t length;
	char type[80];        /* with the boundary at its end */
	const char *boundary; /* in it */
};

/*
 * torc_http_form_data_init - a form without parts. torc_http_form_data_done - forget them.
 *
 * Suspends    never
 * Thread      any
 */
TORC_API void torc_http_form_data_init(struct torc_http_form_data *form);
TORC_API void torc_http_form_data_done(struct torc_http_form_data *form);

/*
 * torc_http_form_data_add_text - add a field; name and text are copied.
 *
 * torc_http_form_data_add_memory - add bytes as a field, or with a filename as a file. Only the data is borrowed, until _done.
 *
 *   @filename  NULL: it is a field
 *   @type      NULL: none is said, and it is text; of a file application/octet-stream
 *   @data      [len]; NULL if len is 0
 *
 * Returns     0
 *             -EINVAL   control characters but CR, LF and tab in a name, or any in a type; or one of more than TORC_HTTP_FORM_NAME_MAX bytes
 *             -EFBIG    the form would be longer than INT64_MAX
 *             -ENOMEM
 *             After an error the form is as it was.
 * Suspends    never
 * Thread      any, one at a time
 */
TORC_API TORC_MUST_CHECK int torc_http_form_data_add_text(struct torc_http_form_data *form,
							  const char *name, const char *text);
TORC_API TORC_MUST_CHECK int torc_http_form_data_add_memory(struct torc_http_form_data *form,
							    const char *name, const char *filename,
							    const char *type, const void *data,
							    size_t len);

/*
 * torc_http_form_data_add_file - add a file, which is opened each time the form is sent, and has to be as long then as it is now.
 *
 *   @filename  NULL: the path's last part
 *   @type      NULL: as the path ends, or else application/octet-stream
 *   @dirfd     borrowed until _done; or AT_FDCWD
 *   @path      copied
 *
 * Returns     as torc_http_form_data_add_memory, and
 *             -EISDIR       a directory
 *             -EOPNOTSUPP   neither that nor a regular file, so that nobody knows how long it is
 *             or as torc_statx
 * Suspends    always, unless the scope has ended
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_http_form_data_add_file(struct torc_http_form_data *form,
							  const char *name, const char *filename,
							  const char *type, int dirfd,
							  const char *path);

/* torc_http_form_data_type - the value of Content-Type, valid until _done; torc_http_form_data_length - of Content-Length. Never suspend. */
TORC_API const char *torc_http_form_data_type(const struct torc_http_form_data *form);
TORC_API uint64_t torc_http_form_data_length(const struct torc_http_form_data *form);

/*
 * torc_http_form_data_write - write the body, from its beginning.
 *
 *   @write  is called with a piece after the other, of memory that is valid until it returns; what is negative ends it
 *
 * Returns     0            torc_http_form_data_length bytes were written
 *             -EIO         a file is not as long as it was when it was added, or is no regular file any more; or its device has failed
 *             -ECANCELED, -ETIMEDOUT   the scope
 *             -ENOMEM
 *             or as `write`, or as torc_openat and torc_pread
 * Suspends    as `write`; if there are files, always
 * Thread      a fiber's; several at a time may write one form
 */
TORC_API TORC_MUST_CHECK int torc_http_form_data_write(const struct torc_http_form_data *form,
						       int (*write)(void *to, const void *data,
								    size_t len),
						       void *to);

TORC_END_DECLS

#endif
