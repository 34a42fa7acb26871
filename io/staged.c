#include "io/internal/staged.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <torc/core/scope.h>
#include <torc/core/sys.h>
#include <torc/executor/offload.h>
#include <torc/io/file.h>
#include <torc/io/socket.h>

#include "core/internal/system.h"

#define NAMES_TRIED 100

/* --- where --- */

static bool names_directory(const char *base)
{
	return !*base || !strcmp(base, ".") || !strcmp(base, "..");
}

int torc__open_parent(int dirfd, const char *path, int *ret_dir, const char **ret_base)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	size_t len = slash ? (size_t)(base - path) : 1;
	char *parent;
	int fd;

	if (!*path)
		return -ENOENT;
	if (names_directory(base))
		return -EISDIR;
	parent = torc__malloc(len + 1);
	if (!parent)
		return -ENOMEM;
	memcpy(parent, slash ? path : ".", len);
	parent[len] = '\0';
	fd = torc_openat(dirfd, parent, O_RDONLY | O_DIRECTORY, 0);
	torc__free(parent);
	if (fd < 0)
		return fd;
	*ret_dir = fd;
	*ret_base = base;
	return 0;
}

int torc__sync_directory(int dir)
{
	int r = torc_fsync(dir);

	return r == -EINVAL ? 0 : r;
}

/* --- the new file --- */

/*
 * It need not be a secret, as O_EXCL opens nothing that is there: just another one than others' and one's own earlier ones.
 * The mixture is SplitMix64's.
 */
static void choose_name(struct torc__staged *s, unsigned attempt)
{
	static uint64_t count;
	uint64_t x = torc_sys_wall_ns() + attempt;

	x += __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED) * 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	snprintf(s->name, sizeof(s->name), ".torc-%016llx", (unsigned long long)(x ^ x >> 31));
}

struct mode_call {
	int fd;
	mode_t mode;
};

static int do_set_mode(void *arg)
{
	const struct mode_call *c = arg;

	return torc_sys_fchmod(c->fd, c->mode);
}

int torc__set_mode(int fd, mode_t mode)
{
	struct mode_call c = { fd, mode };

	return torc_offload(do_set_mode, &c);
}

/* Of a creation that was cut short nobody knows whether there is a file. */
static void take_away(const struct torc__staged *s)
{
	struct torc_scope shield;

	torc_scope_enter_shield(&shield, TORC_NEVER);
	(void)torc_unlinkat(s->dir, s->name, 0);
	torc_scope_leave(&shield);
}

static int create(struct torc__staged *s, mode_t mode)
{
	int r = -EEXIST;

	for (unsigned i = 0; r == -EEXIST && i < NAMES_TRIED; i++) {
		choose_name(s, i);
		r = torc_openat(s->dir, s->name, O_WRONLY | O_CREAT | O_EXCL, mode);
	}
	if (r == -ECANCELED || r == -ETIMEDOUT)
		take_away(s);
	s->fd = r;
	return r < 0 ? r : 0;
}

/* Nobody but its owner may read it before it has the permissions of the one that it will replace. */
static int create_like(struct torc__staged *s, mode_t mode)
{
	struct statx st;
	int r = torc_statx(s->dir, s->base, AT_SYMLINK_NOFOLLOW, STATX_TYPE | STATX_MODE, &st);

	if (r == -ENOENT || (!r && !S_ISREG(st.stx_mode)))
		return create(s, mode);
	if (!r)
		r = create(s, 0600);
	if (r || (st.stx_mode & 0777) == 0600)
		return r;
	r = torc__set_mode(s->fd, st.stx_mode & 0777);
	if (r < 0) {
		take_away(s);
		(void)torc_close_wait(s->fd);
	}
	return r;
}

int torc__staged_open(struct torc__staged *s, int dirfd, const char *path, mode_t mode, bool keeps)
{
	int r = torc__open_parent(dirfd, path, &s->dir, &s->base);

	if (r < 0)
		return r;
	r = keeps ? create_like(s, mode) : create(s, mode);
	if (r < 0)
		(void)torc_close_wait(s->dir);
	return r;
}

void torc__staged_drop(struct torc__staged *s)
{
	take_away(s);
	(void)torc_close_wait(s->fd);
	(void)torc_close_wait(s->dir);
}

/* --- its name --- */

/* Where the file system cannot rename without replacing. */
static int link_and_unlink(const struct torc__staged *s)
{
	int r = torc_linkat(s->dir, s->name, s->dir, s->base, 0);

	if (!r)
		(void)torc_unlinkat(s->dir, s->name, 0);
	return r;
}

static int give_name(const struct torc__staged *s, unsigned how)
{
	bool exclusive = how & TORC__PLACE_EXCLUSIVE;
	int r = torc_renameat2(s->dir, s->name, s->dir, s->base, exclusive ? RENAME_NOREPLACE : 0);

	return r == -EINVAL && exclusive ? link_and_unlink(s) : r;
}

int torc__staged_place(struct torc__staged *s, unsigned how)
{
	struct torc_scope shield;
	int r = torc_scope_status();

	torc_scope_enter_shield(&shield, TORC_NEVER);
	if (!r)
		r = give_name(s, how);
	if (r < 0)
		(void)torc_unlinkat(s->dir, s->name, 0);
	else if (how & TORC__PLACE_DURABLE)
		r = torc__sync_directory(s->dir);
	torc_scope_leave(&shield);
	(void)torc_close_wait(s->fd);
	(void)torc_close_wait(s->dir);
	return r;
}
