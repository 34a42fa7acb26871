/*
 * http/files.h - answer with files: a directory to be served, or one file from a handler.
 *
 *	static struct torc_http_files files;
 *
 *	r = torc_http_files_init(&files, &(struct torc_http_files_options){ .root = "/srv/www" });
 *	if (r < 0)
 *		return r;
 *	r = torc_http_serve(&(struct torc_http_options){
 *		.addresses = addresses, .handler = torc_http_files_handle, .arg = &files });
 *	torc_http_files_done(&files);
 *
 * What is beneath the root is served and nothing else: the path is decoded once, "." and ".." are taken out of it, and the
 * kernel resolves the rest beneath the root (openat2(2), RESOLVE_BENEATH). Where a kernel lacks that, each part of the path is
 * opened by itself, and symbolic links are not followed at all. Only regular files are served: of a named pipe or a device
 * nothing is read. Do not let others write to the root what they may not publish: a hard link is a file like any other.
 *
 * Conditions (If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, If-Range) and ranges are answered as RFC 9110
 * says. A file's ETag is made of its inode, size and time of modification: a file that is replaced, as
 * torc_write_file does it, has another one. Replace files by renaming: one that is written in place may be seen half written.
 *
 * Each loop keeps the files that are asked for most, small ones with what is in them and large ones open, and looks whether
 * they have changed at most once in `revalidate_ns`: until then an old version may be served.
 */
#ifndef TORC_HTTP_FILES_H
#define TORC_HTTP_FILES_H

#include <torc/http/server.h>

TORC_BEGIN_DECLS

/* One more type of files, or another one: { "gmi", "text/gemini" }. */
struct torc_http_type {
	const char *
		suffix; /* what follows the last dot of the name, in lower case, at most 15 bytes */
	const char *type; /* Content-Type; at most 255 bytes */
};

/* What becomes of symbolic links. */
enum torc_http_symlinks {
	TORC_HTTP_SYMLINKS_BENEATH, /* they are followed as long as they do not lead out of the root */
	TORC_HTTP_SYMLINKS_NONE,    /* they are not followed: 403 */
};

/* How to serve a directory. root or root_fd is needed, the rest may be zero for the default. */
struct torc_http_files_options {
	const char *root; /* a directory; it may be a symbolic link. NULL: root_fd is it */
	int root_fd;      /* copied, so that it may be closed when torc_http_files_init returns */

	/* Below which path of the server it is: "/static". Default: where torc_router_mount has put it, else all of them. What
	 * is not below is not answered (-ENOENT). */
	const char *prefix;
	/* What stands for a directory: names in it, of which the first that is there; NULL-terminated. Default:
	 * index.html. */
	const char *const *index;
	const struct torc_http_type
		*types; /* looked at before those that are known; ended by a suffix of NULL */
	const char *default_type; /* default application/octet-stream */
	const char
		*cache_control; /* Cache-Control of what is sent: "max-age=3600". Default: none */
	enum torc_http_symlinks symlinks;
	bool hidden; /* serve names that begin with a dot. Default: only what is below /.well-known/ */
	bool listing; /* a directory without an index is shown as a page of names. Default: it is not there */
	/*
	 * NAME.br, NAME.zst and NAME.gz hold what is in NAME, compressed: they are sent in its place to those who accept
	 * that. One that is older than NAME is not used, for it was made of an earlier version.
	 */
	bool precompressed;
	unsigned
		ranges_max; /* in one request; default 16, at most 64; with more it gets the whole file */
	unsigned listing_max; /* names in a listing; default 1000, at most 10000 */

	/* The cache of each loop. */
	size_t cache_bytes;      /* memory; default 8 MiB */
	size_t cache_file_bytes; /* a file up to this is kept in memory; default 64 KiB, at most 1 MiB */
	unsigned
		cache_entries; /* files; those that are larger take a descriptor each; default 256, at most 65536 */
	uint64_t revalidate_ns; /* default 1 s */
	bool no_cache;          /* look at the disk for each request */
};

struct torc__http_cache;

/* Loops that torc_run can have: each has a cache of its own. */
#define TORC_HTTP_FILES_LOOPS 256

/* Caller's memory from torc_http_files_init to torc_http_files_done. The fields are private. */
struct torc_http_files {
	struct torc_http_files_options options;
	int root_fd;
	const char *prefix; /* without slashes at its ends */
	size_t prefix_len;
	struct torc__http_cache *caches[TORC_HTTP_FILES_LOOPS];
};

/*
 * torc_http_files_init - make ready to serve a directory.
 *
 *   @options  the strings and arrays that it names are borrowed until torc_http_files_done; the rest is copied
 *
 * Returns     0
 *             -EINVAL           an option out of range; an index that is no name; a prefix that does not begin with '/', or
 *                               with ".", ".." or '%' in it
 *             -ENOENT, -EACCES, -ELOOP, ...   the root, as open(2)
 *             -ENOTDIR          the root is no directory
 *             -EBADF            root_fd is not open
 *             -EMFILE, -ENFILE  no descriptor is left
 * Suspends    never; it may wait for a disk
 * Thread      any; inside of torc_run one of the runtime's
 */
TORC_API TORC_MUST_CHECK int torc_http_files_init(struct torc_http_files *files,
						  const struct torc_http_files_options *options);

/*
 * torc_http_files_done - close what is open. No fiber of any loop may be in torc_http_files_handle: that traps.
 *
 * Suspends    never
 * Thread      any
 */
TORC_API void torc_http_files_done(struct torc_http_files *files);

/*
 * torc_http_files_handle - answer GET and HEAD with a file: a torc_http_fn.
 *
 * By itself it answers 304 and 412, 416, 308 to a directory whose path lacks the slash, 400 to a path that cannot be one,
 * 403 to what may not be read, is not a file, or leads out, 405, 414, and 503 when there is no descriptor or no memory. A file
 * that shrinks while it is sent ends the connection; of one that grows the announced bytes are sent.
 *
 *   @files  a struct torc_http_files
 *
 * Returns     0         answered
 *             -ENOENT   nothing was answered, and there is no such file, or none that may be seen
 *             -ECANCELED, -ETIMEDOUT   the scope
 *             -EIO      the file has shrunk, or the disk failed, in the middle
 *             or as torc_http_respond and torc_http_write
 * Suspends    as torc_http_respond; and for what is not in the cache, or has to be looked at again
 * Thread      the handler's fiber
 * Source      RFC 9110, sections 8.8, 13 and 14; openat2(2)
 */
TORC_API TORC_MUST_CHECK int torc_http_files_handle(struct torc_http_exchange *x, void *files);

/* One file as an answer. Zeroed but for path or fd means: 200, with its type by its name. */
struct torc_http_file {
	/* Trusted: symbolic links are followed, and it may lead anywhere. From the working directory. NULL: fd is it. */
	const char *path;
	int fd;           /* borrowed; its position is neither used nor changed */
	int status;       /* default 200. With any other there are neither conditions nor ranges */
	const char *type; /* default: by the name, or by `download` */
	const char *
		download; /* to be saved under this name, in UTF-8, at most 255 bytes; default: shown */
	const char *cache_control; /* default: none */
};

/*
 * torc_http_respond_file - answer with one file that the handler has chosen, with conditions and ranges as above.
 *
 *	return torc_http_respond_file(x, &(struct torc_http_file){ .path = "report.pdf",
 *								   .download = "Report 2026.pdf" });
 *
 * Returns     0         answered
 *             -ENOENT, -EACCES, -EMFILE, ...   the path, as torc_open: nothing was answered
 *             -EISDIR   a directory: nothing was answered
 *             -EPERM    neither a file nor a directory: nothing was answered
 *             -EINVAL   status out of range; control characters in type, download or cache_control
 *             -ENOSPC   the added fields are more than 2 KiB
 *             -EALREADY a response has begun
 *             -ECANCELED, -ETIMEDOUT   the scope
 *             or as torc_http_files_handle
 * Suspends    yes
 * Thread      the handler's fiber
 */
TORC_API TORC_MUST_CHECK int torc_http_respond_file(struct torc_http_exchange *x,
						    const struct torc_http_file *file);

TORC_END_DECLS

#endif
