/*
 * tail - shows what is added to files, also when one is cut to nothing, or renamed and another one takes its name, as logs are.
 *
 *	build/examples/tail /var/log/syslog /var/log/auth.log
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <torc/torc.h>

struct file {
	const char *path, *name; /* without its directory */
	int fd;                  /* -1: there is none of that name just now */
	int id;                  /* of its directory's watch */
	off_t at;
	ino_t inode;
};

struct tail {
	struct file *files;
	size_t count;
	const struct file *shown;
	struct torc_watch watch;
};

static int show(struct tail *t, struct file *f)
{
	static char buf[65536];
	int n, r = 0;

	while (r == 0 && (n = torc_pread(f->fd, buf, sizeof(buf), f->at)) != 0) {
		if (n < 0)
			return n;
		if (t->count > 1 && t->shown != f)
			dprintf(STDOUT_FILENO, "==> %s <==\n", f->path);
		t->shown = f;
		f->at += n;
		r = torc_write_all(STDOUT_FILENO, buf, (size_t)n);
	}
	return r;
}

/* It may have gone again: then the next event tells. */
static int open_file(struct file *f, bool at_end)
{
	struct stat st;
	int fd = torc_open(f->path, O_RDONLY, 0);

	if (fd < 0)
		return fd == -ECANCELED ? fd : 0;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		torc_close(fd);
		return 0;
	}
	f->fd = fd;
	f->inode = st.st_ino;
	f->at = at_end ? st.st_size : 0;
	return 0;
}

/*
 * Show what is new: of the file that had the name, then of the one that has it now. Which one that is is asked first: what the old
 * one got until then is read afterwards, so that nothing is lost. Without a new one the old one is kept.
 */
static int follow(struct tail *t, struct file *f)
{
	struct stat st;
	bool same = f->fd >= 0 && (stat(f->path, &st) < 0 || st.st_ino == f->inode);
	int r = 0;

	if (f->fd >= 0 && fstat(f->fd, &st) == 0 && st.st_size < f->at)
		f->at = 0; /* it was cut */
	if (f->fd >= 0)
		r = show(t, f);
	if (r < 0 || same)
		return r;
	if (f->fd >= 0)
		torc_close(f->fd);
	f->fd = -1;
	r = open_file(f, false);
	return r == 0 && f->fd >= 0 ? show(t, f) : r;
}

static int watch_file(struct tail *t, struct file *f, const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");

	*f = (struct file){ .path = path, .name = slash ? slash + 1 : path, .fd = -1 };
	if (!dir)
		return -ENOMEM;
	f->id = torc_watch_add(&t->watch, dir, IN_MODIFY | IN_CREATE | IN_MOVED_TO);
	free(dir);
	return f->id < 0 ? f->id : open_file(f, true);
}

static int run(struct tail *t)
{
	struct torc_watch_event e;
	int r = 0;

	while (r == 0 && (r = torc_watch_next(&t->watch, &e)) == 0)
		for (size_t i = 0; i < t->count && r == 0; i++)
			if (e.mask & IN_Q_OVERFLOW ||
			    (e.id == t->files[i].id && !strcmp(e.name, t->files[i].name)))
				r = follow(t, &t->files[i]);
	return r;
}

static int app(void *arg)
{
	char **paths = arg;
	struct tail t = { .count = 0 };
	int r = torc_watch_open(&t.watch);

	if (r < 0)
		return r;
	while (paths[t.count])
		t.count++;
	t.files = calloc(t.count, sizeof(*t.files));
	r = t.files ? 0 : -ENOMEM;
	for (size_t i = 0; i < t.count && r == 0; i++)
		r = watch_file(&t, &t.files[i], paths[i]);
	if (r == 0) {
		fprintf(stderr, "tail: following\n");
		r = run(&t);
	}
	for (size_t i = 0; i < t.count && t.files; i++)
		if (t.files[i].fd > 0) /* 0: not begun with; standard input has that */
			torc_close(t.files[i].fd);
	free(t.files);
	torc_watch_close(&t.watch);
	return r == -ECANCELED ? 0 : r;
}

int main(int argc, char **argv)
{
	int r = argc > 1 ? torc_run(NULL, app, argv + 1) : -EINVAL;

	if (!argv[1])
		fputs("usage: tail FILE...\n", stderr);
	else if (r < 0)
		fprintf(stderr, "tail: %s\n", strerror(-r));
	return r < 0;
}
