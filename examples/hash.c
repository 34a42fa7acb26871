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
	char *path;
	uint64_t hash; /* of the pieces until here */
	int error;     /* why there is no hash: one that cannot be read does not stop the others */
};

struct piece {
	struct file *file;
	unsigned char bytes[PIECE_BYTES];
};

/* All on one loop, so that no lock is needed; only hash_piece runs elsewhere. */
static struct torc_executor *pool;
static struct file *files;
static size_t file_count;

/* In a thread of the pool: the bytes of a piece, in one part. */
static int hash_piece(void *arg, size_t begin, size_t end)
{
	struct piece *p = arg;
	uint64_t hash = p->file->hash;

	for (size_t i = begin; i < end; i++)
		hash = (hash ^ p->bytes[i]) * 0x100000001b3;
	p->file->hash = hash;
	return 0;
}

static int hash_contents(struct file *f, int fd, struct piece *p)
{
	int r;

	p->file = f;
	do {
		r = torc_read(fd, p->bytes, PIECE_BYTES);
		if (r <= 0)
			return r;
		r = torc_parallel_for(pool, 0, (size_t)r, (size_t)r, hash_piece, p);
	} while (r == 0);
	return r;
}

/* A fiber for each file: while one waits for the disk, others compute. */
static int hash_file(void *arg)
{
	struct file *f = arg;
	struct piece *p = malloc(sizeof(*p));
	int fd = p ? torc_open(f->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0) : -ENOMEM;

	f->error = fd < 0 ? fd : hash_contents(f, fd, p);
	if (fd >= 0)
		torc_close(fd);
	free(p);
	return f->error == -ECANCELED ? f->error : 0;
}

/* As many at once as the limit allows: spawning waits for its turn. */
static int hash_all(void)
{
	const struct torc_group_options limit = { .limit = FILES_AT_ONCE };
	struct torc_group group;
	int ended, r = 0;

	torc_group_enter_with(&group, &limit);
	for (size_t i = 0; i < file_count && r == 0; i++)
		if (!files[i].error)
			r = torc_group_spawn(&group, hash_file, &files[i]);
	ended = torc_group_wait(&group);
	return r < 0 ? r : ended;
}

/* Regular files, and directories that cannot be read. */
static int add_file(const struct torc_walk_entry *e, void *arg)
{
	struct file *more, f = { .hash = 0xcbf29ce484222325, .error = e->error };

	if (!e->error && e->type != DT_REG)
		return TORC_WALK_ON;
	more = reallocarray(files, file_count + 1, sizeof(*files));
	if (more)
		files = more;
	if (!more || asprintf(&f.path, "%s/%s", (const char *)arg, e->path) < 0)
		return -ENOMEM;
	files[file_count++] = f;
	return TORC_WALK_ON;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct file *)a)->path, ((const struct file *)b)->path);
}

static int show(void)
{
	int r = 0;

	if (file_count)
		qsort(files, file_count, sizeof(*files), by_path);
	for (const struct file *f = files; f < files + file_count; f++)
		if (!f->error)
			printf("%016" PRIx64 "  %s\n", f->hash, f->path);
		else
			r = -EIO, fprintf(stderr, "hash: %s: %s\n", f->path, strerror(-f->error));
	return r;
}

static int app(void *arg)
{
	const struct torc_walk_options go_on = { .report_errors = true };
	int r = torc_pool_create(NULL, &pool);

	for (char **root = arg; *root && r == 0; root++)
		r = torc_walk(AT_FDCWD, *root, &go_on, add_file, *root);
	if (r == 0)
		r = hash_all();
	torc_executor_destroy(pool);
	return r < 0 ? r : show();
}

int main(int argc, char **argv)
{
	int r = argc > 1 ? torc_run(NULL, app, argv + 1) : -EINVAL;

	if (!argv[1])
		fputs("usage: hash DIRECTORY...\n", stderr);
	else if (r < 0)
		fprintf(stderr, "hash: %s\n", strerror(-r));
	while (file_count)
		free(files[--file_count].path);
	free(files);
	return r < 0;
}
