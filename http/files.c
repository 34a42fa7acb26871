/*
 * http/files.c - serve a directory: which file a request means, and what is said when there is none.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include <torc/core/scope.h>
#include <torc/core/sys.h>
#include <torc/io/socket.h>

#include "http/internal/files.h"

/* A redirect's; the fields that are added to an answer have hardly more room. */
#define LOCATION_BYTES 1900

/* --- one request --- */

static int not_allowed(struct torc_http_exchange *x)
{
	int r = torc_http_add_field(x, "Allow", "GET, HEAD");

	return r ? r : torc__http_file_refuse(x, 405);
}

/* Why there is no file to be sent; what is not for the client to know is returned. */
static int refuse(struct torc_http_exchange *x, int error)
{
	if (error == torc_scope_status())
		return error;
	switch (error) {
	case -ENOENT:
	case -ENOTDIR: return -ENOENT;
	case -EINVAL: return torc__http_file_refuse(x, 400);
	case -EACCES:
	case -EPERM:
	case -EISDIR:
	case -EXDEV: /* it would lead out of the directory */
	case -ELOOP:
	case -ENODEV:
	case -ENXIO: return torc__http_file_refuse(x, 403);
	case -ENAMETOOLONG:
	case -ENOSPC: return torc__http_file_refuse(x, 414);
	case -EAGAIN:
	case -EMFILE:
	case -ENFILE:
	case -ENOMEM: return torc__http_file_refuse(x, 503);
	default: return error;
	}
}

/* A compressed form, if one is there and wanted. It may have gone since it was seen. */
static int get_variant(struct torc_http_exchange *x, struct torc_http_files *f,
		       const struct torc__http_held *h, struct torc__http_held **ret)
{
	enum torc__http_coding coding = torc__http_coding_choose(x, h->variants);
	const char *suffix = torc__http_coding_suffix(coding);
	char path[TORC__HTTP_PATH_BYTES];
	size_t len = h->path_len + strlen(suffix);
	int r;

	if (!coding || len >= sizeof(path))
		return 0;
	memcpy(path, h->path, h->path_len);
	strcpy(path + h->path_len, suffix);
	r = torc__http_files_get(f, path, len, coding, ret);
	if (r == torc_scope_status())
		return r < 0 ? r : 1;
	return r < 0 ? 0 : 1;
}

static int send_held(struct torc_http_exchange *x, struct torc_http_files *f,
		     struct torc__http_held *h)
{
	struct torc__http_file_answer a = {
		.status = 200,
		.ranges_max = f->options.ranges_max,
		.type = h->type,
		.cache_control = f->options.cache_control,
		.vary = h->variants,
	};
	struct torc__http_held *variant;
	int r = h->variants ? get_variant(x, f, h, &variant) : 0;

	if (r < 0)
		return r;
	if (!r)
		return torc__http_file_send(x, h, &a);
	r = torc__http_file_send(x, variant, &a);
	torc__http_held_put(variant);
	return r;
}

/* Below which path, without a slash at its ends. */
static struct torc_slice prefix_of(const struct torc_http_files *f,
				   const struct torc_http_exchange *x)
{
	struct torc_slice mount = torc__http_prefix(x);

	if (f->prefix_len)
		return (struct torc_slice){ f->prefix, f->prefix_len };
	if (mount.len) {
		mount.data++;
		mount.len--;
	}
	return mount;
}

/*
 * To a directory, whose path lacks its slash. Made of the parts that were understood, for what was sent could be taken for
 * another server's name: "//example.org/..".
 */
static int redirect(struct torc_http_exchange *x, const struct torc_http_files *f, const char *path)
{
	struct torc_slice query = torc_http_query(x), prefix = prefix_of(f, x);
	char from[TORC__HTTP_PATH_BYTES], to[LOCATION_BYTES];
	const char *mark = x->head.has_query ? "?" : "";
	int n, r;

	n = snprintf(from, sizeof(from), "/%.*s%s%s/", (int)prefix.len, prefix.data,
		     prefix.len && *path ? "/" : "", path);
	if (n >= (int)sizeof(from))
		return refuse(x, -ENAMETOOLONG);
	n = torc__http_path_encode(from, to, sizeof(to));
	if (n < 0 || (size_t)n + query.len + 2 > sizeof(to))
		return refuse(x, -ENOSPC);
	snprintf(to + n, sizeof(to) - (size_t)n, "%s%.*s", mark, (int)query.len,
		 query.len ? query.data : "");
	r = torc_http_add_field(x, "Location", to);
	if (r == -ENOSPC)
		return refuse(x, r);
	return r ? r : torc__http_file_refuse(x, 308);
}

static int send_named(struct torc_http_exchange *x, struct torc_http_files *f, const char *path,
		      size_t len)
{
	struct torc__http_held *h;
	int r = torc__http_files_get(f, path, len, TORC__HTTP_IDENTITY, &h);

	if (r == -EISDIR)
		return redirect(x, f, path);
	if (r < 0)
		return refuse(x, r);
	r = send_held(x, f, h);
	torc__http_held_put(h);
	return r;
}

/* What stands for the directory; -ENOENT: nothing does. */
static int get_index(struct torc_http_files *f, char *path, size_t len,
		     struct torc__http_held **ret)
{
	int r = -ENOENT;

	for (const char *const *name = f->options.index; r == -ENOENT && *name; name++) {
		size_t name_len = strlen(*name);

		if (len + name_len >= TORC__HTTP_PATH_BYTES)
			return -ENAMETOOLONG;
		memcpy(path + len, *name, name_len + 1);
		r = torc__http_files_get(f, path, len + name_len, TORC__HTTP_IDENTITY, ret);
	}
	path[len] = '\0';
	return r;
}

static int send_directory(struct torc_http_exchange *x, struct torc_http_files *f, char *path,
			  size_t len)
{
	struct torc__http_held *h;
	int error, r = get_index(f, path, len, &h);

	if (r == -ENOENT && f->options.listing) {
		r = torc__http_files_list(x, f, path, &error);
		return error ? refuse(x, error) : r;
	}
	if (r < 0)
		return refuse(x, r);
	r = send_held(x, f, h);
	torc__http_held_put(h);
	return r;
}

/* Take the prefix off a path. Returns the rest, or NULL: it has another one. */
static char *behind_prefix(struct torc_slice prefix, char *path, bool *ret_bare)
{
	*ret_bare = false;
	if (!prefix.len)
		return path;
	if (strncmp(path, prefix.data, prefix.len) != 0)
		return NULL;
	path += prefix.len;
	*ret_bare = !*path;
	return *path == '/' ? path + 1 : *ret_bare ? path : NULL;
}

int torc_http_files_handle(struct torc_http_exchange *x, void *files)
{
	struct torc_http_files *f = files;
	char buf[TORC__HTTP_PATH_BYTES], *path;
	bool bare;
	size_t len;
	int r = torc_scope_status();

	if (r < 0)
		return r;
	if (x->head.method != TORC__HTTP_GET && x->head.method != TORC__HTTP_HEAD)
		return not_allowed(x);
	r = torc__http_path_normalise(torc_http_path(x), buf);
	if (r < 0)
		return refuse(x, r);
	path = behind_prefix(prefix_of(f, x), buf, &bare);
	if (!path || (!f->options.hidden && torc__http_path_hidden(path)))
		return -ENOENT;
	if (bare)
		return redirect(x, f, "");
	len = (size_t)r - (size_t)(path - buf);
	/* A path that is cut at the prefix has room for a longer one all the same: */
	if (path != buf)
		path = memmove(buf, path, len + 1);
	return !len || path[len - 1] == '/' ? send_directory(x, f, path, len)
					    : send_named(x, f, path, len);
}

/* --- the directory --- */

#define RANGES_DEFAULT  16
#define LISTING_DEFAULT 1000
#define LISTING_MAX     10000 /* names are sorted in one go */
#define ENTRIES_DEFAULT 256
#define ENTRIES_MAX     65536
#define FILE_DEFAULT    ((size_t)64 << 10)
#define FILE_MAX        ((size_t)1 << 20)
#define CACHE_DEFAULT   ((size_t)8 << 20)

static const char *const default_index[] = { "index.html", NULL };

#define DEFAULT(field, value) (o->field = o->field ? o->field : (value))

static void fill_in(struct torc_http_files_options *o)
{
	DEFAULT(index, default_index);
	DEFAULT(default_type, "application/octet-stream");
	DEFAULT(ranges_max, RANGES_DEFAULT);
	DEFAULT(listing_max, LISTING_DEFAULT);
	DEFAULT(cache_bytes, CACHE_DEFAULT);
	DEFAULT(cache_file_bytes, FILE_DEFAULT);
	DEFAULT(cache_entries, ENTRIES_DEFAULT);
	DEFAULT(revalidate_ns, TORC_SECONDS(1));
	if (o->revalidate_ns > UINT64_MAX / 4) /* it is added to the clock */
		o->revalidate_ns = UINT64_MAX / 4;
}

/* "/static/" is "static" inside. Only what a request's path comes to can ever be below it. */
static int set_prefix(struct torc_http_files *f)
{
	const char *prefix = f->options.prefix ? f->options.prefix : "/";
	char text[TORC__HTTP_PATH_BYTES];
	size_t len = strlen(prefix);
	int r;

	if (*prefix != '/' || strchr(prefix, '%'))
		return -EINVAL;
	while (len > 1 && prefix[len - 1] == '/')
		len--;
	r = torc__http_path_normalise((struct torc_slice){ prefix, len }, text);
	if (r != (int)len - 1 || memcmp(text, prefix + 1, len - 1) != 0)
		return -EINVAL;
	f->prefix = prefix + 1;
	f->prefix_len = len - 1;
	return 0;
}

/* Names, and not paths: without openat2 each part of a path is taken as it is. */
static bool index_is_valid(const char *const *index)
{
	for (; *index; index++)
		if (!**index || strchr(*index, '/') || !strcmp(*index, ".") ||
		    !strcmp(*index, ".."))
			return false;
	return true;
}

static bool options_are_valid(const struct torc_http_files_options *o)
{
	return index_is_valid(o->index) && o->ranges_max <= TORC__HTTP_RANGES_MAX &&
	       o->listing_max <= LISTING_MAX && o->cache_file_bytes <= FILE_MAX &&
	       o->cache_entries <= ENTRIES_MAX &&
	       (o->symlinks == TORC_HTTP_SYMLINKS_BENEATH ||
		o->symlinks == TORC_HTTP_SYMLINKS_NONE);
}

/* Of whatever kind root_fd is: the opens below it say so, but that would be late. */
static int open_root(const struct torc_http_files_options *o)
{
	if (o->root)
		return torc_sys_open(o->root, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	return torc_sys_dup(o->root_fd);
}

int torc_http_files_init(struct torc_http_files *f, const struct torc_http_files_options *options)
{
	int r;

	*f = (struct torc_http_files){ .options = *options, .root_fd = -1 };
	fill_in(&f->options);
	r = options_are_valid(&f->options) ? set_prefix(f) : -EINVAL;
	if (r < 0)
		return r;
	r = open_root(&f->options);
	if (r < 0)
		return r;
	f->root_fd = r;
	return 0;
}

void torc_http_files_done(struct torc_http_files *f)
{
	torc__http_files_close_caches(f);
	if (f->root_fd >= 0)
		torc_sys_close(f->root_fd);
	f->root_fd = -1;
}
