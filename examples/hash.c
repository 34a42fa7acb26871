/*
 * hash - the FNV-1a hashes of all files below directories, sorted by path. The ring reads, a pool of threads computes, and of a
 * file no more than a piece is in memory.
 *
 *	build/examples/hash /usr/include /usr/share/doc
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <torc/torc.h>

#define FILES_AT_ONCE 8
#define PIECE_BYTES   (256u << 10)

struct file {
	struct hasher *hasher;
	struct file *next;
	char *path;
	uint64_t hash;
	int fd;
	char *piece; /* [PIECE_BYTES], while it is hashed */
	size_t len;
};

/* All on one loop, so that no lock is needed; only hash_piece runs elsewhere. */
struct hasher {
	const char *root;
	struct torc_executor *pool;
	struct torc_group group;
	struct file *done; /* a list */
	size_t count;
	bool failed;
};

/* In a thread of the pool. */
static int hash_piece(void *arg, size_t begin, size_t end)
{
	struct file *f = arg;
	uint64_t hash = f->hash;

	(void)begin, (void)end;
	for (size_t i = 0; i < f->len; i++)
		hash = (hash ^ (unsigned char)f->piece[i]) * 0x100000001b3;
	f->hash = hash;
	return 0;
}

static int hash_file(struct file *f)
{
	off_t at = 0;
	int r;

	f->hash = 0xcbf29ce484222325;
	while ((r = torc_pread(f->fd, f->piece, PIECE_BYTES, at)) > 0) {
		f->len = (size_t)r;
		at += r;
		r = torc_parallel_for(f->hasher->pool, 0, 1, 1, hash_piece, f);
		if (r < 0)
			return r;
	}
	return r;
}

static void free_file(struct file *f)
{
	free(f->path);
	free(f);
}

static void fail(struct file *f, int error)
{
	fprintf(stderr, "hash: %s: %s\n", f->path, strerror(-error));
	f->hasher->failed = true;
	free_file(f);
}

/* One that cannot be read is told of; the others go on. */
static int run_file(void *arg)
{
	struct file *f = arg;
	int r;

	f->piece = malloc(PIECE_BYTES);
	r = f->piece ? hash_file(f) : -ENOMEM;
	free(f->piece);
	torc_close(f->fd);
	if (r < 0) {
		fail(f, r);
		return r == -ECANCELED ? r : 0;
	}
	f->next = f->hasher->done;
	f->hasher->done = f;
	f->hasher->count++;
	return 0;
}

/* Waits while FILES_AT_ONCE are in work. */
static int visit(const struct torc_walk_entry *e, void *arg)
{
	struct hasher *h = arg;
	struct file *f;
	int r = e->error;

	if (!r && e->type != DT_REG)
		return TORC_WALK_ON;
	f = calloc(1, sizeof(*f));
	if (!f || asprintf(&f->path, "%s/%s", h->root, e->path) < 0) {
		free(f);
		return -ENOMEM;
	}
	f->hasher = h;
	if (!r)
		f->fd = r = torc_openat(e->dirfd, e->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	if (r >= 0 && (r = torc_group_spawn(&h->group, run_file, f)) < 0)
		torc_close(f->fd);
	if (r < 0)
		fail(f, r);
	return r == -ECANCELED ? r : TORC_WALK_ON;
}

static int by_path(const void *a, const void *b)
{
	return strcmp((*(struct file *const *)a)->path, (*(struct file *const *)b)->path);
}

static int show(struct hasher *h)
{
	struct file **files = calloc(h->count + 1, sizeof(struct file *));
	size_t n = 0;

	if (!files)
		return -ENOMEM;
	for (struct file *f = h->done; f; f = f->next)
		files[n++] = f;
	qsort(files, n, sizeof(struct file *), by_path);
	for (size_t i = 0; i < n; i++)
		printf("%016" PRIx64 "  %s\n", files[i]->hash, files[i]->path);
	free(files);
	return h->failed ? -EIO : 0;
}

static int hash_all(struct hasher *h, char **roots)
{
	const struct torc_group_options limit = { .limit = FILES_AT_ONCE };
	const struct torc_walk_options go_on = { .report_errors = true };
	int ended, r = 0;

	torc_group_enter_with(&h->group, &limit);
	for (; *roots && r == 0; roots++) {
		h->root = *roots;
		r = torc_walk(AT_FDCWD, h->root, &go_on, visit, h);
	}
	ended = torc_group_wait(&h->group);
	return r < 0 ? r : ended;
}

static int app(void *arg)
{
	struct hasher h = { .count = 0 };
	int r = torc_pool_create(NULL, &h.pool);

	if (r < 0)
		return r;
	r = hash_all(&h, arg);
	torc_executor_destroy(h.pool);
	if (r == 0)
		r = show(&h);
	while (h.done) {
		struct file *f = h.done;

		h.done = f->next;
		free_file(f);
	}
	return r;
}

int main(int argc, char **argv)
{
	int r = argc > 1 ? torc_run(NULL, app, argv + 1) : -EINVAL;

	if (r < 0)
		fprintf(stderr, "hash: %s\n", strerror(-r));
	return r < 0;
}
