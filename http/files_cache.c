/*
 * http/files_cache.c - the files that a loop keeps: a table by path, and a list by the last use.
 *
 * Nothing is locked, for each loop has its own. A file is in the table or not; who sends it has a reference, so that it may
 * be thrown out meanwhile.
 *
 * Whether one has changed is asked by a statx of its path, once per interval and file, by the request that finds the interval
 * over: others meanwhile get what is there. The path is not kept beneath the root by that, and need not be: the answer is only
 * compared with what was there when it was. (inotify would need a watch on each directory on the way, cannot see what other machines
 * do to a shared file system, and has an overflow to be got over; all that for one statx per second.)
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <torc/core/run.h>
#include <torc/core/scope.h>
#include <torc/core/sys.h>
#include <torc/io/file.h>

#include "core/internal/system.h"
#include "core/internal/trap.h"
#include "http/internal/files.h"

struct torc__http_cache {
	struct torc__http_held *newest, *oldest;
	size_t bytes;
	unsigned entries;
	unsigned mask; /* of the table */
	struct torc__http_held *table[];
};

static struct torc__http_cache *cache_of(struct torc_http_files *f)
{
	struct torc__http_cache **slot = &f->caches[torc_loop_index()];
	unsigned size = 16;

	if (*slot || f->options.no_cache)
		return *slot;
	while (size < f->options.cache_entries)
		size *= 2;
	*slot = torc__calloc(1, sizeof(**slot) + size * sizeof((*slot)->table[0]));
	if (*slot)
		(*slot)->mask = size - 1;
	return *slot;
}

/* FNV-1a, eight bytes at a time. Who may choose paths, and makes them collide, makes one chain of at most all entries. */
static uint32_t hash_of(const char *path, size_t len, enum torc__http_coding coding)
{
	uint64_t h = 0xcbf29ce484222325u ^ coding, part;

	for (; len >= sizeof(part); path += sizeof(part), len -= sizeof(part)) {
		memcpy(&part, path, sizeof(part));
		h = (h ^ part) * 0x100000001b3u;
		h ^= h >> 29;
	}
	for (part = 0; len; len--)
		part = part << 8 | (unsigned char)*path++;
	h = (h ^ part) * 0x9e3779b97f4a7c15u;
	return (uint32_t)(h >> 32);
}

/* --- the list --- */

static void take_from_list(struct torc__http_cache *c, struct torc__http_held *h)
{
	*(h->newer ? &h->newer->older : &c->newest) = h->older;
	*(h->older ? &h->older->newer : &c->oldest) = h->newer;
}

static void put_first(struct torc__http_cache *c, struct torc__http_held *h)
{
	h->newer = NULL;
	h->older = c->newest;
	*(c->newest ? &c->newest->newer : &c->oldest) = h;
	c->newest = h;
}

/* --- the table --- */

static struct torc__http_held **slot_of(struct torc__http_cache *c, uint32_t hash, const char *path,
					size_t len, enum torc__http_coding coding)
{
	struct torc__http_held **slot = &c->table[hash & c->mask];

	for (; *slot; slot = &(*slot)->next_hash) {
		const struct torc__http_held *h = *slot;

		if (h->hash == hash && h->coding == coding && h->path_len == len &&
		    !memcmp(h->path, path, len))
			break;
	}
	return slot;
}

/* It may be out already. */
static void throw_out(struct torc__http_cache *c, struct torc__http_held *h)
{
	if (!h->cached)
		return;
	*slot_of(c, h->hash, h->path, h->path_len, h->coding) = h->next_hash;
	take_from_list(c, h);
	h->cached = false;
	c->bytes -= h->bytes;
	c->entries--;
	torc__http_held_put(h);
}

static void insert(const struct torc_http_files *f, struct torc__http_cache *c, uint32_t hash,
		   struct torc__http_held *h)
{
	struct torc__http_held **slot = slot_of(c, hash, h->path, h->path_len, h->coding);

	if (h->bytes > f->options.cache_bytes)
		return;
	/* Somebody else may have opened it meanwhile: which of them is older nobody knows. */
	if (*slot)
		throw_out(c, *slot);
	while (c->oldest && (c->bytes + h->bytes > f->options.cache_bytes ||
			     c->entries >= f->options.cache_entries))
		throw_out(c, c->oldest);
	slot = slot_of(c, hash, h->path, h->path_len, h->coding);
	h->hash = hash;
	h->next_hash = NULL;
	*slot = h;
	put_first(c, h);
	h->cached = true;
	h->refs++;
	c->bytes += h->bytes;
	c->entries++;
}

/* Those that are open make room for one that is to be. Closed here and now, so that the next open finds it. */
static bool close_some(struct torc__http_cache *c)
{
	struct torc__http_held *h, *newer;
	bool some = false;

	for (h = c ? c->oldest : NULL; h; h = newer) {
		newer = h->newer;
		if (h->fd < 0 || h->refs > 1)
			continue;
		torc_sys_close(h->fd);
		h->fd = -1;
		throw_out(c, h);
		some = true;
	}
	return some;
}

/* --- what is on the disk --- */

static bool same_time(struct statx_timestamp a, struct statx_timestamp b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* The time of change too: a file may be given another time of modification, or other permissions. */
static bool same_file(const struct statx *a, const struct statx *b)
{
	return a->stx_ino == b->stx_ino && a->stx_size == b->stx_size &&
	       a->stx_dev_major == b->stx_dev_major && a->stx_dev_minor == b->stx_dev_minor &&
	       same_time(a->stx_mtime, b->stx_mtime) && same_time(a->stx_ctime, b->stx_ctime);
}

static int look(const struct torc_http_files *f, const char *path, struct statx *ret)
{
	return torc_statx(f->root_fd, *path ? path : ".", AT_NO_AUTOMOUNT, STATX_BASIC_STATS, ret);
}

/* Is there a compressed form, made after the file itself? A hint: it is opened with all care later. */
static int look_for_variant(const struct torc_http_files *f, struct torc__http_held *h,
			    enum torc__http_coding coding)
{
	const char *suffix = torc__http_coding_suffix(coding);
	char path[TORC__HTTP_PATH_BYTES];
	struct statx status;
	int r;

	if (h->path_len + strlen(suffix) >= sizeof(path))
		return 0;
	memcpy(path, h->path, h->path_len);
	strcpy(path + h->path_len, suffix);
	r = look(f, path, &status);
	if (!r && S_ISREG(status.stx_mode) && status.stx_mtime.tv_sec >= h->status.stx_mtime.tv_sec)
		h->variants |= (uint8_t)coding;
	return r == torc_scope_status() ? r : 0;
}

static int look_for_variants(const struct torc_http_files *f, struct torc__http_held *h)
{
	int r = 0;

	h->variants = 0;
	if (!f->options.precompressed || h->coding || !h->status.stx_size)
		return 0;
	for (unsigned coding = TORC__HTTP_BR; !r && coding <= TORC__HTTP_GZIP; coding *= 2)
		r = look_for_variant(f, h, (enum torc__http_coding)coding);
	return r;
}

static uint64_t next_check(const struct torc_http_files *f)
{
	return torc_turn_ns() + f->options.revalidate_ns;
}

/* 1: it is what it was. 0: it is not. */
static int check(const struct torc_http_files *f, struct torc__http_held *h)
{
	struct statx status;
	int r = look(f, h->path, &status);

	if (r < 0)
		return r == torc_scope_status() ? r : 0;
	if (h->racy || !same_file(&status, &h->status))
		return 0;
	r = look_for_variants(f, h);
	return r < 0 ? r : 1;
}

static int check_in_turn(const struct torc_http_files *f, struct torc__http_held *h)
{
	int r;

	if (torc_turn_ns() < h->check_ns || h->checking)
		return 1;
	h->checking = true;
	r = check(f, h);
	h->checking = false;
	if (r > 0)
		h->check_ns = next_check(f);
	return r;
}

static int open_and_make(struct torc_http_files *f, const char *path, size_t len,
			 enum torc__http_coding coding, struct torc__http_held **ret)
{
	int fd = torc__http_files_open(f, path);
	int r;

	if ((fd == -EMFILE || fd == -ENFILE) && close_some(f->caches[torc_loop_index()]))
		fd = torc__http_files_open(f, path);
	if (fd < 0)
		return fd;
	r = torc__http_held_make(fd, path, len, f->options.cache_file_bytes, coding, ret);
	if (r < 0)
		return r;
	(*ret)->type = torc__http_type_of(path, f->options.types, f->options.default_type);
	(*ret)->check_ns = next_check(f);
	r = look_for_variants(f, *ret);
	if (r < 0)
		torc__http_held_put(*ret);
	return r;
}

/* From the cache, with a reference. 0: it is not there. */
static int find(struct torc_http_files *f, struct torc__http_cache *c, struct torc__http_held *h,
		struct torc__http_held **ret)
{
	int r;

	if (!h)
		return 0;
	h->refs++;
	r = check_in_turn(f, h);
	if (r > 0) {
		if (h->cached && c->newest != h) {
			take_from_list(c, h);
			put_first(c, h);
		}
		*ret = h;
		return 1;
	}
	if (!r)
		throw_out(c, h);
	torc__http_held_put(h);
	return r;
}

int torc__http_files_get(struct torc_http_files *f, const char *path, size_t len,
			 enum torc__http_coding coding, struct torc__http_held **ret)
{
	struct torc__http_cache *c = cache_of(f);
	uint32_t hash = hash_of(path, len, coding);
	int r = c ? find(f, c, *slot_of(c, hash, path, len, coding), ret) : 0;

	if (r)
		return r < 0 ? r : 0;
	r = open_and_make(f, path, len, coding, ret);
	if (!r && c)
		insert(f, c, hash, *ret);
	return r;
}

static void close_cache(struct torc__http_cache *c)
{
	while (c && c->oldest) {
		struct torc__http_held *h = c->oldest;

		torc__check(h->refs == 1, "torc_http_files_done while files are being sent");
		if (h->fd >= 0)
			torc_sys_close(h->fd);
		h->fd = -1;
		throw_out(c, h);
	}
	torc__free(c);
}

void torc__http_files_close_caches(struct torc_http_files *f)
{
	for (size_t i = 0; i < TORC_HTTP_FILES_LOOPS; i++)
		close_cache(f->caches[i]);
}
