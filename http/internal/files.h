/*
 * http/internal/files.h - what the parts of http/files*.c have in common.
 *
 *	files.c            a request: which file, and what if there is none
 *	files_path.c       from the request's path to one that the kernel may see, and back
 *	files_open.c       from that to an open file, or one in memory
 *	files_cache.c      those that a loop keeps
 *	files_condition.c  If-Match and its like
 *	files_range.c      Range
 *	files_coding.c     Accept-Encoding
 *	files_type.c       Content-Type
 *	files_send.c       the answer
 *	files_list.c       a directory as a page
 *	files_one.c        torc_http_respond_file
 */
#ifndef TORC_HTTP_INTERNAL_FILES_H
#define TORC_HTTP_INTERNAL_FILES_H

#include <sys/stat.h>

#include <torc/http/files.h>

#include "http/internal/exchange.h"

/* A path beneath the root, with its zero byte: not longer, for there are three on the stack at worst. */
#define TORC__HTTP_PATH_BYTES 2048

#define TORC__HTTP_RANGES_MAX 64

/* How what is in a file is compressed, as bits: what a client accepts and what there is are sets of them. */
enum torc__http_coding {
	TORC__HTTP_IDENTITY = 0,
	TORC__HTTP_BR = 1, /* at equal q the first of these that there is */
	TORC__HTTP_ZSTD = 2,
	TORC__HTTP_GZIP = 4,
};

/*
 * A file that is open, or in memory. Shared by the fibers of one loop that send it, and by the loop's cache: each has a
 * reference.
 */
struct torc__http_held {
	struct torc__http_held *next_hash;     /* in the cache: */
	struct torc__http_held *newer, *older; /* by its last use */
	uint32_t hash;
	uint32_t refs;
	bool cached, checking; /* somebody looks whether it has changed */
	bool racy; /* modified just before it was looked at: later bytes may have the same time, and would not be noticed */
	uint8_t coding;    /* of what is in it */
	uint8_t variants;  /* of an identity: what else there is */
	uint64_t check_ns; /* from then on it may have changed */
	size_t bytes;      /* of this block */

	int fd; /* -1: in memory */
	const char *content;
	uint64_t size;
	struct statx status;
	const char *type; /* by its name */
	char etag[80];
	char lines
		[200]; /* fields of each answer, as they are sent: tag, date, that there are ranges */
	uint32_t lines_len;
	uint32_t path_len;
	char path[]; /* beneath the root, "" for one without; then the content */
};

/* --- files_path.c --- */

/*
 * Decode, and take out empty parts, "." and "..": "a/b", or with a slash at its end when it is a directory's; "" is
 * the root. Returns its length, -EINVAL (a NUL or a slash that was encoded, or garbled), -EXDEV (it leads out), -ENAMETOOLONG.
 */
int torc__http_path_normalise(struct torc_slice in, char out[TORC__HTTP_PATH_BYTES]);

/* Has it a part that begins with a dot, but for a first one that is .well-known? */
bool torc__http_path_hidden(const char *path);

/* Percent-encode for a link; what is no problem in a path stays. Its length, or -ENOSPC. */
int torc__http_path_encode(const char *path, char *out, size_t size);

/* --- files_open.c --- */

/* Beneath f's root. A descriptor, or as torc_openat2; a directory is opened too. */
int torc__http_files_open(const struct torc_http_files *f, const char *path);

/* Anywhere, to be read. */
int torc__http_path_open(const char *path);

/*
 * Takes over fd, or closes it: no larger than `most` bytes, the file is read and fd closed. -EISDIR: a directory,
 * -EPERM: neither that nor a regular file.
 */
int torc__http_held_make(int fd, const char *path, size_t path_len, size_t most,
			 enum torc__http_coding coding, struct torc__http_held **ret);

void torc__http_held_put(struct torc__http_held *file);

/* --- files_cache.c --- */

/* By a path, from the cache or from the disk; to be put. Returns 0, or as torc__http_files_open and torc__http_held_make. */
int torc__http_files_get(struct torc_http_files *f, const char *path, size_t len,
			 enum torc__http_coding coding, struct torc__http_held **ret);

void torc__http_files_close_caches(struct torc_http_files *f);

/* --- files_condition.c --- */

/* Seconds since 1970 of a date in any of the three forms of RFC 9110, section 5.6.7. `now` is for two-digit years. */
bool torc__http_date_parse(struct torc_slice text, int64_t now, int64_t *ret_seconds);

/* The next line of a field, from *at on. */
bool torc__http_next_field(const struct torc_http_exchange *x, enum torc__http_name name,
			   unsigned *at, struct torc_slice *ret_value);

/* 0: go on; 304 or 412: RFC 9110, section 13.2.2, steps 1 to 4. */
int torc__http_condition(const struct torc_http_exchange *x, const struct torc__http_held *file);

/* Step 5: is the Range to be looked at? */
bool torc__http_if_range(const struct torc_http_exchange *x, const struct torc__http_held *file);

/* --- files_range.c --- */

struct torc__http_range {
	uint64_t first, len;
};

/*
 * Which parts of `size` bytes a Range asks for, overlapping ones as one, in the order asked for.
 *
 * Returns 1 .. most, 0: it is to be ignored, or -ERANGE: there is nothing of what it asks for.
 */
int torc__http_ranges(struct torc_slice value, uint64_t size, unsigned most,
		      struct torc__http_range ranges[TORC__HTTP_RANGES_MAX]);

/* --- files_coding.c --- */

/* ".br"; "" for an identity. */
const char *torc__http_coding_suffix(enum torc__http_coding coding);
/* "br" */
const char *torc__http_coding_name(enum torc__http_coding coding);
/* The best of `there` that the client accepts. */
enum torc__http_coding torc__http_coding_choose(const struct torc_http_exchange *x, unsigned there);

/* --- files_type.c --- */

/* By a name or path. `types` may be NULL. */
const char *torc__http_type_of(const char *path, const struct torc_http_type *types,
			       const char *otherwise);

/* --- files_send.c --- */

struct torc__http_file_answer {
	int status;
	unsigned ranges_max;
	const char *type, *cache_control;
	bool vary; /* it depends on Accept-Encoding */
};

/* Conditions, ranges, and all. */
int torc__http_file_send(struct torc_http_exchange *x, const struct torc__http_held *file,
			 const struct torc__http_file_answer *a);

/* A status and its phrase as text. */
int torc__http_file_refuse(struct torc_http_exchange *x, int status);

/* --- files_list.c --- */

/* *ret_error: why the directory cannot be read; then nothing was answered. */
int torc__http_files_list(struct torc_http_exchange *x, const struct torc_http_files *f,
			  const char *path, int *ret_error);

#endif
