/*
 * core/sim/disk.c - files and directories, in memory.
 *
 * A node lives as long as a directory has a name for it, a file has it open or, of a directory, one that was in it
 * lives: that one's ".." leads there.
 */
#include "core/sim/sim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DISK_BYTES  ((uint64_t)64 << 20)
#define BLOCK_BYTES 4096u
#define UMASK       022u
#define LINKS_MOST  40u

/* A directory's "." and "..", at places 1 and 2. */
#define DOTS 2u

/* The time of day when the virtual clock is at 0. */
#define WALL_SECONDS 1700000000

struct entry {
	struct entry *next;
	struct node *node;
	uint64_t place; /* in the order of creation: where a reader of the directory stands */
	size_t len;
	char name[];
};

struct node {
	struct node *next, **link; /* all of the disk's */
	uint64_t ino;
	unsigned mode;
	unsigned names; /* entries that lead to it; a directory without one is dead */
	unsigned holds; /* see above */
	uint64_t accessed_ns, modified_ns, changed_ns, born_ns;

	/* of a directory */
	struct node *parent; /* the root's is itself */
	struct entry *entries;
	unsigned directories; /* of the entries */

	/* of a file; of a symbolic link: where it leads */
	char *data;
	uint64_t size, capacity;
	uint64_t reserved; /* of the disk, at least size: fallocate(2) */
};

struct torc__sim_disk {
	struct node *nodes;
	struct node *root;
	char *paths[2]; /* with links in them expanded: of the two latest walks */
	unsigned walks;
	uint64_t used; /* bytes that are reserved */
	uint64_t last_ino;
	uint64_t last_place;
};

struct disk_file {
	struct torc__sim_file file; /* first */
	struct node *node;
};

static const struct torc__sim_file_kind disk_kind;

/* --- nodes --- */

static bool is_directory(const struct node *n)
{
	return S_ISDIR(n->mode);
}

static bool is_link(const struct node *n)
{
	return S_ISLNK(n->mode);
}

static void touch(struct node *n)
{
	n->modified_ns = n->changed_ns = torc__sim->now_ns;
}

static struct node *new_node(struct torc__sim_disk *disk, unsigned mode)
{
	struct node *n = torc__sim_alloc(sizeof(*n));

	n->ino = ++disk->last_ino;
	n->mode = mode;
	touch(n);
	n->accessed_ns = n->born_ns = n->modified_ns;
	n->next = disk->nodes;
	n->link = &disk->nodes;
	if (n->next)
		n->next->link = &n->next;
	disk->nodes = n;
	return n;
}

static struct torc__sim_disk *the_disk(void)
{
	struct torc__sim_disk *disk = torc__sim->disk;

	if (disk)
		return disk;
	disk = torc__sim_alloc(sizeof(*disk));
	torc__sim->disk = disk;
	disk->root = new_node(disk, S_IFDIR | 0755);
	disk->root->parent = disk->root;
	disk->root->names = 1;
	return disk;
}

static void free_node(struct node *n)
{
	while (n->entries) {
		struct entry *e = n->entries;

		n->entries = e->next;
		free(e);
	}
	*n->link = n->next;
	if (n->next)
		n->next->link = n->link;
	the_disk()->used -= n->reserved;
	free(n->data);
	free(n);
}

static void collect(struct node *n)
{
	while (n && !n->names && !n->holds) {
		struct node *parent = n->parent;

		free_node(n);
		if (parent)
			parent->holds--;
		n = parent;
	}
}

static void hold(struct node *n)
{
	n->holds++;
}

static void drop(struct node *n)
{
	n->holds--;
	collect(n);
}

void torc__sim_disk_done(void)
{
	struct torc__sim_disk *disk = torc__sim->disk;

	if (!disk)
		return;
	while (disk->nodes)
		free_node(disk->nodes);
	free(disk->paths[0]);
	free(disk->paths[1]);
	free(disk);
	torc__sim->disk = NULL;
}

/* --- entries --- */

static struct entry **entry_at(struct node *directory, const char *name, size_t len)
{
	struct entry **at = &directory->entries;

	while (*at && ((*at)->len != len || memcmp((*at)->name, name, len)))
		at = &(*at)->next;
	return at;
}

static void adopt(struct node *directory, struct node *n)
{
	if (!is_directory(n))
		return;
	if (n->parent)
		n->parent->holds--;
	n->parent = directory;
	hold(directory);
	directory->directories++;
}

static void add_entry(struct node *directory, const char *name, size_t len, struct node *n)
{
	struct entry *e = torc__sim_alloc(sizeof(*e) + len);

	memcpy(e->name, name, len);
	e->len = len;
	e->node = n;
	e->place = DOTS + ++the_disk()->last_place;
	e->next = directory->entries;
	directory->entries = e;
	n->names++;
	adopt(directory, n);
	touch(directory);
}

static void remove_entry(struct node *directory, const char *name, size_t len)
{
	struct entry **at = entry_at(directory, name, len), *e = *at;
	struct node *n = e->node;

	*at = e->next;
	free(e);
	n->names--;
	n->changed_ns = torc__sim->now_ns;
	directory->directories -= is_directory(n);
	touch(directory);
}

/* --- paths --- */

enum last { NAME, DOT, DOT_DOT, ROOT };

/* A path up to its last component. */
struct walk {
	struct node *root; /* nothing is above */
	bool beneath;      /* whoever looks there is refused */
	bool no_links;
	unsigned links; /* that were followed */
	char **text;    /* the path, once a link was */
	struct node *at;
	enum last last;
	const char *name;
	size_t len;
	bool slash; /* after it: it has to be a directory */
};

static struct node *node_of(struct torc__sim_file *file)
{
	return torc__container_of(file, struct disk_file, file)->node;
}

static int start_walk(struct walk *w, struct torc__sim_file *directory, const char *path,
		      uint64_t resolve)
{
	bool beneath = resolve & RESOLVE_BENEATH, in_root = resolve & RESOLVE_IN_ROOT;
	struct torc__sim_disk *disk = the_disk();

	*w = (struct walk){ .root = disk->root, .at = disk->root, .beneath = beneath };
	w->no_links = resolve & RESOLVE_NO_SYMLINKS;
	w->text = &disk->paths[disk->walks++ % 2];
	if (beneath && in_root)
		return -EINVAL;
	if (!*path)
		return -ENOENT;
	if (strlen(path) >= PATH_MAX)
		return -ENAMETOOLONG;
	if (beneath && *path == '/')
		return -EXDEV;
	if (directory && (*path != '/' || in_root)) {
		if (directory->kind != &disk_kind || !is_directory(node_of(directory)))
			return -ENOTDIR;
		w->at = node_of(directory);
	}
	if (beneath || in_root)
		w->root = w->at;
	return 0;
}

static int find_name(const struct walk *w, struct node **ret)
{
	const struct entry *e;

	if (!w->at->names)
		return -ENOENT;
	if (w->len > NAME_MAX)
		return -ENAMETOOLONG;
	e = *entry_at(w->at, w->name, w->len);
	if (!e)
		return -ENOENT;
	*ret = e->node;
	return 0;
}

/* What the component is that the walk has come to. */
static int find(const struct walk *w, struct node **ret)
{
	if (w->last == NAME)
		return find_name(w, ret);
	if (w->last == DOT_DOT && w->at == w->root && w->beneath)
		return -EXDEV;
	*ret = w->last == DOT_DOT && w->at != w->root ? w->at->parent : w->at;
	return 0;
}

/* The path goes on with what a link says, and then with the rest of it. */
static int expand(struct walk *w, const struct node *link, const char *rest, const char **ret_path)
{
	size_t len = strlen(rest);
	char *text;

	if (w->no_links || ++w->links > LINKS_MOST)
		return -ELOOP;
	if (link->data[0] == '/') {
		if (w->beneath)
			return -EXDEV;
		w->at = w->root;
	}
	text = torc__sim_alloc(link->size + 1 + len + 1);
	memcpy(text, link->data, link->size);
	if (len)
		text[link->size] = '/';
	memcpy(text + link->size + (len > 0), rest, len);
	free(*w->text);
	*w->text = text;
	*ret_path = text;
	return 0;
}

/* Into the component that the walk has come to, which something follows. */
static int step(struct walk *w, const char **path)
{
	struct node *n;
	int r = find(w, &n);

	if (r < 0)
		return r;
	if (is_link(n)) {
		w->last = ROOT;
		return expand(w, n, *path, path);
	}
	if (!is_directory(n))
		return -ENOTDIR;
	w->at = n;
	return 0;
}

static enum last kind_of(const char *name, size_t len)
{
	if (len == 1 && name[0] == '.')
		return DOT;
	return len == 2 && name[0] == '.' && name[1] == '.' ? DOT_DOT : NAME;
}

static int go_on(struct walk *w, const char *path)
{
	int r = 0;

	w->last = ROOT;
	w->slash = false;
	path += strspn(path, "/");
	while (*path) {
		if (w->last != ROOT)
			r = step(w, &path);
		if (r < 0)
			break;
		path += strspn(path, "/");
		w->name = path;
		w->len = strcspn(path, "/");
		w->last = kind_of(path, w->len);
		w->slash = path[w->len] == '/';
		path += w->len + strspn(path + w->len, "/");
	}
	return r;
}

static int walk(struct walk *w, struct torc__sim_file *directory, const char *path,
		uint64_t resolve)
{
	int r = start_walk(w, directory, path, resolve);

	return r ? r : go_on(w, path);
}

/* What the last component is; of links: what they lead to, which may be nothing (-ENOENT). */
static int find_followed(struct walk *w, bool follow, struct node **ret)
{
	const char *path;
	int r = find(w, ret);

	while (r == 0 && is_link(*ret) && (follow || w->slash)) {
		r = expand(w, *ret, w->slash ? "/" : "", &path);
		if (r == 0)
			r = go_on(w, path);
		if (r == 0)
			r = find(w, ret);
	}
	return r;
}

/* The whole path. */
static int look_up(struct walk *w, struct torc__sim_file *directory, const char *path, bool follow,
		   struct node **ret)
{
	int r = walk(w, directory, path, 0);

	if (r == 0)
		r = find_followed(w, follow, ret);
	return r == 0 && w->slash && !is_directory(*ret) ? -ENOTDIR : r;
}

/* --- what a file holds --- */

static uint64_t disk_bytes(void)
{
	uint64_t most = torc__sim->options.disk_bytes;

	return most ? most : DISK_BYTES;
}

/* How far a file can reach that is to reach to `end`. */
static uint64_t reach(const struct node *n, uint64_t end)
{
	uint64_t most = n->reserved + (disk_bytes() - the_disk()->used);

	return end < most ? end : most;
}

static void reserve(struct node *n, uint64_t end)
{
	if (end <= n->reserved)
		return;
	the_disk()->used += end - n->reserved;
	n->reserved = end;
}

static void grow(struct node *n, uint64_t size)
{
	uint64_t capacity = n->capacity ? n->capacity : BLOCK_BYTES;
	char *data;

	while (capacity < size)
		capacity *= 2;
	if (capacity == n->capacity)
		return;
	data = torc__sim_alloc(capacity);
	if (n->size)
		memcpy(data, n->data, n->size);
	free(n->data);
	n->data = data;
	n->capacity = capacity;
}

/* What comes in between is zero. The disk has the room. */
static void extend(struct node *n, uint64_t size)
{
	if (size <= n->size)
		return;
	reserve(n, size);
	grow(n, size);
	memset(n->data + n->size, 0, size - n->size);
	n->size = size;
}

static int resize(struct node *n, uint64_t size)
{
	if (reach(n, size) < size)
		return -ENOSPC;
	extend(n, size);
	n->size = size;
	the_disk()->used -= n->reserved - size;
	n->reserved = size;
	touch(n);
	return 0;
}

/* As relatime mounts do: it is as old as the last change, or a day. */
static void accessed(struct node *n)
{
	uint64_t now_ns = torc__sim->now_ns;

	if (n->accessed_ns <= n->modified_ns || n->accessed_ns <= n->changed_ns ||
	    now_ns - n->accessed_ns >= TORC_SECONDS(86400))
		n->accessed_ns = now_ns;
}

/* --- reading and writing --- */

#define OWN_OFFSET UINT64_MAX

static bool can_read(const struct torc__sim_file *file)
{
	int mode = file->flags & O_ACCMODE;

	return !(file->flags & O_PATH) && (mode == O_RDONLY || mode == O_RDWR);
}

static bool can_write(const struct torc__sim_file *file)
{
	int mode = file->flags & O_ACCMODE;

	return !(file->flags & O_PATH) && (mode == O_WRONLY || mode == O_RDWR);
}

static ssize_t read_disk(struct torc__sim_file *file, void *buf, size_t len, uint64_t offset,
			 int flags)
{
	struct node *n = node_of(file);
	uint64_t at = offset == OWN_OFFSET ? file->offset : offset;

	(void)flags;
	if (!can_read(file))
		return -EBADF;
	if (at > INT64_MAX || len > (uint64_t)INT64_MAX - at)
		return -EINVAL;
	if (is_directory(n))
		return -EISDIR;
	if (!len)
		return 0;
	accessed(n);
	if (at >= n->size)
		return 0;
	if (len > n->size - at)
		len = n->size - at;
	memcpy(buf, n->data + at, len);
	if (offset == OWN_OFFSET)
		file->offset = at + len;
	return (ssize_t)len;
}

static ssize_t write_disk(struct torc__sim_file *file, const void *buf, size_t len, uint64_t offset,
			  int flags)
{
	struct node *n = node_of(file);
	uint64_t at = offset == OWN_OFFSET ? file->offset : offset, end;

	(void)flags;
	if (!can_write(file))
		return -EBADF;
	if (at > INT64_MAX || len > (uint64_t)INT64_MAX - at)
		return -EINVAL;
	if (!len)
		return 0;
	if (file->flags & O_APPEND)
		at = n->size;
	end = reach(n, at + len);
	if (end <= at)
		return -ENOSPC;
	extend(n, end);
	memcpy(n->data + at, buf, end - at);
	touch(n);
	if (offset == OWN_OFFSET)
		file->offset = end;
	return (ssize_t)(end - at);
}

static void destroy_disk_file(struct torc__sim_file *file)
{
	struct disk_file *f = torc__container_of(file, struct disk_file, file);

	if (f->node)
		drop(f->node);
	free(f);
}

static const struct torc__sim_file_kind disk_kind = {
	.name = "file",
	.read = read_disk,
	.write = write_disk,
	.destroy = destroy_disk_file,
};

/* --- reading of directories --- */

/* The one after a place, and its place: NULL at the end. */
static struct node *next_entry(struct node *directory, uint64_t *place, const char **ret_name,
			       size_t *ret_len)
{
	const struct entry *next = NULL;

	*ret_name = "..";
	*ret_len = ++*place;
	if (*place <= DOTS)
		return *place == 1 ? directory : directory->parent;
	for (const struct entry *e = directory->entries; e; e = e->next)
		if (e->place >= *place && (!next || e->place < next->place))
			next = e;
	if (!next)
		return NULL;
	*place = next->place;
	*ret_name = next->name;
	*ret_len = next->len;
	return next->node;
}

static unsigned char type_of(const struct node *n)
{
	/* There are file systems that do not tell. */
	return torc__sim_chaos(TORC_SIM_SHORT) ? DT_UNKNOWN
					       : (unsigned char)((n->mode & S_IFMT) >> 12);
}

static size_t put_entry(char *to, size_t room, const struct node *n, uint64_t place,
			const char *name, size_t len)
{
	struct dirent64 *d = (struct dirent64 *)(void *)to;
	size_t bytes = (offsetof(struct dirent64, d_name) + len + 1 + 7) & ~(size_t)7;

	if (bytes > room)
		return 0;
	memset(d, 0, bytes);
	d->d_ino = n->ino;
	d->d_off = (int64_t)place;
	d->d_reclen = (uint16_t)bytes;
	d->d_type = type_of(n);
	memcpy(to + offsetof(struct dirent64, d_name), name, len);
	return bytes;
}

/* How far it has read is the file's offset. */
static int list(struct torc__sim_file *file, char *buf, size_t len)
{
	size_t done = 0, bytes, name_len;
	const char *name;
	struct node *n;
	uint64_t place = file->offset;

	while ((n = next_entry(node_of(file), &place, &name, &name_len))) {
		bytes = put_entry(buf + done, len - done, n, place, name, name_len);
		if (!bytes)
			return done ? (int)done : -EINVAL;
		done += bytes;
		file->offset = place;
		if (torc__sim_chaos(TORC_SIM_SHORT))
			break;
	}
	return (int)done;
}

int torc__sim_disk_list(struct torc__sim_file *file, void *buf, size_t len)
{
	if (file->flags & O_PATH)
		return -EBADF;
	if (file->kind != &disk_kind || !is_directory(node_of(file)))
		return -ENOTDIR;
	if (!node_of(file)->names)
		return -ENOENT;
	return list(file, buf, len < INT_MAX ? len : INT_MAX);
}

/* --- open --- */

/* O_PATH leaves next to nothing of the others. */
static int effective_flags(int flags)
{
	if (flags & O_PATH)
		return flags & (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return flags;
}

static int check_flags(int flags)
{
	if ((flags & O_TMPFILE) == O_TMPFILE)
		return -EOPNOTSUPP;
	if (flags & O_CREAT && flags & O_DIRECTORY)
		return -EINVAL;
	return 0;
}

static int check_existing(const struct node *n, int flags)
{
	bool writes = flags & O_TRUNC || (flags & O_ACCMODE) != O_RDONLY;

	if (flags & O_CREAT && flags & O_EXCL)
		return -EEXIST;
	if (is_link(n)) /* it was not to be followed */
		return flags & O_DIRECTORY ? -ENOTDIR : flags & O_PATH ? 0 : -ELOOP;
	if (is_directory(n))
		return flags & O_CREAT || writes ? -EISDIR : 0;
	return flags & O_DIRECTORY ? -ENOTDIR : 0;
}

static int find_last(struct walk *w, int flags, struct node **ret)
{
	bool stays = flags & O_NOFOLLOW || (flags & O_CREAT && flags & O_EXCL);
	int r = find_followed(w, !stays, ret);

	if (r == -ENOENT && flags & O_CREAT && w->at->names) {
		*ret = NULL;
		return 0;
	}
	if (r == 0 && w->slash && !is_directory(*ret))
		r = -ENOTDIR;
	return r < 0 ? r : check_existing(*ret, flags);
}

/* What is to be opened; *ret is NULL when it is to be created. */
static int find_to_open(struct walk *w, struct torc__sim_file *directory, const char *path,
			int flags, uint64_t resolve, struct node **ret)
{
	int r = walk(w, directory, path, resolve);

	if (r == 0 && flags & O_CREAT && w->last == NAME && w->slash)
		r = -EISDIR;
	return r < 0 ? r : find_last(w, flags, ret);
}

static struct node *create(const struct walk *w, unsigned mode)
{
	struct node *n = new_node(the_disk(), mode);

	add_entry(w->at, w->name, w->len, n);
	return n;
}

int torc__sim_disk_open(struct torc__sim_file *directory, const char *path, int flags,
			unsigned mode, uint64_t resolve)
{
	struct walk w;
	struct node *n = NULL;
	struct disk_file *f;
	int r, fd;

	flags = effective_flags(flags);
	r = check_flags(flags);
	if (r == 0)
		r = find_to_open(&w, directory, path, flags, resolve, &n);
	if (r < 0)
		return r;
	f = torc__sim_alloc(sizeof(*f));
	torc__sim_file_init(&f->file, &disk_kind,
			    flags & (O_ACCMODE | O_APPEND | O_NONBLOCK | O_PATH));
	/* The descriptor first: nothing is created and nothing cut off when there is none. */
	fd = torc__sim_fd_open(&f->file);
	if (fd < 0)
		return fd;
	if (!n)
		n = create(&w, S_IFREG | (mode & 07777 & ~UMASK));
	else if (flags & O_TRUNC)
		resize(n, 0);
	f->node = n;
	hold(n);
	return fd;
}

/* --- stat --- */

static struct statx_timestamp wall(uint64_t ns)
{
	return (struct statx_timestamp){
		.tv_sec = WALL_SECONDS + (int64_t)(ns / 1000000000u),
		.tv_nsec = (uint32_t)(ns % 1000000000u),
	};
}

static unsigned links_of(const struct node *n)
{
	return is_directory(n) && n->names ? 2 + n->directories : n->names;
}

static void fill(const struct node *n, struct statx *ret)
{
	*ret = (struct statx){
		.stx_mask = STATX_BASIC_STATS | STATX_BTIME,
		.stx_blksize = BLOCK_BYTES,
		.stx_nlink = links_of(n),
		.stx_mode = (uint16_t)n->mode,
		.stx_ino = n->ino,
		.stx_size = is_directory(n) ? BLOCK_BYTES : n->size,
		.stx_blocks = (n->reserved + BLOCK_BYTES - 1) / BLOCK_BYTES * (BLOCK_BYTES / 512),
		.stx_atime = wall(n->accessed_ns),
		.stx_btime = wall(n->born_ns),
		.stx_ctime = wall(n->changed_ns),
		.stx_mtime = wall(n->modified_ns),
		.stx_dev_major = 8,
		.stx_dev_minor = 1,
	};
}

/* Of what is not on the disk only the type is known. */
static void fill_other(const struct torc__sim_file *file, struct statx *ret)
{
	*ret = (struct statx){
		.stx_mask = STATX_TYPE | STATX_MODE | STATX_NLINK,
		.stx_blksize = BLOCK_BYTES,
		.stx_nlink = 1,
		.stx_mode = file->kind->is_socket ? S_IFSOCK | 0777
			    : file->kind->is_pipe ? S_IFIFO | 0600
						  : 0600,
	};
}

static int stat_file(struct torc__sim_file *file, struct statx *ret)
{
	if (!file)
		fill(the_disk()->root, ret);
	else if (file->kind == &disk_kind)
		fill(node_of(file), ret);
	else
		fill_other(file, ret);
	return 0;
}

int torc__sim_disk_stat(struct torc__sim_file *file_or_directory, const char *path, int flags,
			struct statx *ret)
{
	struct walk w;
	struct node *n;
	int r;

	if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE))
		return -EINVAL;
	if (flags & AT_EMPTY_PATH && (!path || !*path))
		return stat_file(file_or_directory, ret);
	if (!path)
		return -EFAULT;
	r = look_up(&w, file_or_directory, path, !(flags & AT_SYMLINK_NOFOLLOW), &n);
	if (r == 0)
		fill(n, ret);
	return r;
}

/* --- names --- */

int torc__sim_disk_mkdir(struct torc__sim_file *directory, const char *path, unsigned mode)
{
	struct walk w;
	struct node *n;
	int r = walk(&w, directory, path, 0);

	if (r < 0)
		return r;
	if (w.last != NAME)
		return -EEXIST;
	r = find(&w, &n);
	if (r == 0)
		return -EEXIST;
	if (r != -ENOENT || !w.at->names) /* ENOENT: also where nothing can be any more */
		return r;
	create(&w, S_IFDIR | (mode & 01777 & ~UMASK));
	return 0;
}

/* That there is nothing yet: as fs/namei.c, filename_create. */
static int check_new(const struct walk *w)
{
	struct node *n;
	int r;

	if (w->last != NAME)
		return -EEXIST;
	r = find(w, &n);
	if (r == 0)
		return -EEXIST;
	if (r != -ENOENT || !w->at->names || w->slash)
		return r;
	return 0;
}

static int find_to_link(struct torc__sim_file *directory, const char *path, int flags,
			struct node **ret)
{
	struct walk w;

	if (*path || !(flags & AT_EMPTY_PATH))
		return look_up(&w, directory, path, flags & AT_SYMLINK_FOLLOW, ret);
	if (directory && directory->kind != &disk_kind)
		return -EXDEV;
	*ret = directory ? node_of(directory) : the_disk()->root;
	return 0;
}

int torc__sim_disk_link(struct torc__sim_file *from_directory, const char *from,
			struct torc__sim_file *to_directory, const char *to, int flags)
{
	struct node *n;
	struct walk w;
	int r;

	if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	r = find_to_link(from_directory, from, flags, &n);
	if (r == 0)
		r = walk(&w, to_directory, to, 0);
	if (r == 0)
		r = check_new(&w);
	if (r < 0)
		return r;
	if (is_directory(n))
		return -EPERM;
	if (!n->names)
		return -ENOENT;
	add_entry(w.at, w.name, w.len, n);
	n->changed_ns = torc__sim->now_ns;
	return 0;
}

int torc__sim_disk_symlink(const char *target, struct torc__sim_file *directory, const char *path)
{
	size_t len = strlen(target);
	struct node *n;
	struct walk w;
	int r;

	if (!len)
		return -ENOENT;
	if (len >= PATH_MAX)
		return -ENAMETOOLONG;
	r = walk(&w, directory, path, 0);
	if (r == 0)
		r = check_new(&w);
	if (r < 0)
		return r;
	n = new_node(the_disk(), S_IFLNK | 0777);
	n->data = torc__sim_alloc(len + 1);
	memcpy(n->data, target, len);
	n->size = len;
	add_entry(w.at, w.name, w.len, n);
	return 0;
}

int torc__sim_disk_readlink(struct torc__sim_file *directory, const char *path, char *buf,
			    size_t size)
{
	struct node *n;
	struct walk w;
	int r = look_up(&w, directory, path, false, &n);

	if (r < 0)
		return r;
	if (!is_link(n) || !size)
		return -EINVAL;
	if (size > n->size)
		size = n->size;
	memcpy(buf, n->data, size);
	return (int)size;
}

static int check_unlink(const struct walk *w)
{
	struct node *n;
	int r;

	if (w->last != NAME)
		return -EISDIR;
	r = find(w, &n);
	if (r < 0)
		return r;
	if (is_directory(n))
		return -EISDIR;
	return w->slash ? -ENOTDIR : 0;
}

static int check_rmdir(const struct walk *w)
{
	struct node *n;
	int r;

	switch (w->last) {
	case ROOT: return -EBUSY;
	case DOT: return -EINVAL;
	case DOT_DOT: return -ENOTEMPTY;
	case NAME: break;
	}
	r = find(w, &n);
	if (r < 0)
		return r;
	if (!is_directory(n))
		return -ENOTDIR;
	return n->entries ? -ENOTEMPTY : 0;
}

static void remove_name(const struct walk *w, struct node *n)
{
	remove_entry(w->at, w->name, w->len);
	collect(n);
}

int torc__sim_disk_unlink(struct torc__sim_file *directory, const char *path, int flags)
{
	struct walk w;
	struct node *n;
	int r;

	if (flags & ~AT_REMOVEDIR)
		return -EINVAL;
	r = walk(&w, directory, path, 0);
	if (r == 0)
		r = flags & AT_REMOVEDIR ? check_rmdir(&w) : check_unlink(&w);
	if (r == 0)
		r = find(&w, &n);
	if (r == 0)
		remove_name(&w, n);
	return r;
}

static bool is_above(const struct node *n, const struct node *directory)
{
	while (directory != n && directory != directory->parent)
		directory = directory->parent;
	return directory == n;
}

/* In the order of fs/namei.c: do_renameat2, vfs_rename. */
static int check_rename(const struct walk *from, const struct node *moved, const struct walk *to,
			const struct node *replaced, unsigned flags)
{
	if (replaced && flags & RENAME_NOREPLACE)
		return -EEXIST;
	if (!is_directory(moved) && (from->slash || to->slash))
		return -ENOTDIR;
	if (is_directory(moved) && is_above(moved, to->at))
		return -EINVAL;
	if (replaced && is_directory(replaced) && is_above(replaced, from->at))
		return -ENOTEMPTY;
	if (!replaced || replaced == moved)
		return 0;
	if (is_directory(moved) != is_directory(replaced))
		return is_directory(moved) ? -ENOTDIR : -EISDIR;
	return replaced->entries ? -ENOTEMPTY : 0;
}

static int find_to_rename(struct walk *from, struct node **ret_moved, struct walk *to,
			  struct node **ret_replaced, unsigned flags)
{
	int r;

	if (from->last != NAME)
		return -EBUSY;
	if (to->last != NAME)
		return flags & RENAME_NOREPLACE ? -EEXIST : -EBUSY;
	r = find(from, ret_moved);
	if (r < 0)
		return r;
	r = find(to, ret_replaced);
	if (r < 0 && (r != -ENOENT || !to->at->names))
		return r;
	return check_rename(from, *ret_moved, to, *ret_replaced, flags);
}

int torc__sim_disk_rename(struct torc__sim_file *from_directory, const char *from,
			  struct torc__sim_file *to_directory, const char *to, unsigned flags)
{
	struct walk from_walk, to_walk;
	struct node *moved = NULL, *replaced = NULL;
	int r;

	if (flags & ~(unsigned)RENAME_NOREPLACE)
		return -EINVAL;
	r = walk(&from_walk, from_directory, from, 0);
	if (r == 0)
		r = walk(&to_walk, to_directory, to, 0);
	if (r == 0)
		r = find_to_rename(&from_walk, &moved, &to_walk, &replaced, flags);
	if (r < 0 || moved == replaced)
		return r;
	if (replaced)
		remove_name(&to_walk, replaced);
	remove_entry(from_walk.at, from_walk.name, from_walk.len);
	add_entry(to_walk.at, to_walk.name, to_walk.len, moved);
	return 0;
}

int torc__sim_disk_chmod(struct torc__sim_file *file, unsigned mode)
{
	struct node *n;

	if (file->flags & O_PATH)
		return -EBADF;
	if (file->kind != &disk_kind)
		return 0; /* nobody can see it */
	n = node_of(file);
	n->mode = (n->mode & S_IFMT) | (mode & 07777);
	n->changed_ns = torc__sim->now_ns;
	return 0;
}

/* --- sizes --- */

int torc__sim_disk_sync(struct torc__sim_file *file)
{
	if (file->flags & O_PATH)
		return -EBADF;
	return file->kind == &disk_kind ? 0 : -EINVAL;
}

int torc__sim_disk_allocate(struct torc__sim_file *file, int mode, uint64_t offset, uint64_t len)
{
	struct node *n;
	uint64_t end = offset + len;

	if (file->flags & O_PATH)
		return -EBADF;
	if (offset > INT64_MAX || len > INT64_MAX || !len)
		return -EINVAL;
	if (mode & ~FALLOC_FL_KEEP_SIZE)
		return -EOPNOTSUPP;
	if (!can_write(file))
		return -EBADF;
	if (file->kind != &disk_kind)
		return file->kind->is_pipe ? -ESPIPE : -ENODEV;
	if (end > INT64_MAX)
		return -EFBIG;
	n = node_of(file);
	if (reach(n, end) < end)
		return -ENOSPC;
	reserve(n, end);
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		extend(n, end);
	touch(n);
	return 0;
}

int torc__sim_disk_truncate(struct torc__sim_file *file, uint64_t size)
{
	if (file->flags & O_PATH)
		return -EBADF;
	if (size > INT64_MAX || file->kind != &disk_kind || !can_write(file))
		return -EINVAL;
	return resize(node_of(file), size);
}

/* In the order of fs/sync.c. */
int torc__sim_disk_sync_range(struct torc__sim_file *file, uint64_t offset, uint64_t len, int flags)
{
	if (flags &
	    ~(SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER))
		return -EINVAL;
	if (offset > INT64_MAX || len > INT64_MAX - offset)
		return -EINVAL;
	return file->kind == &disk_kind ? 0 : -ESPIPE;
}

int torc__sim_disk_advise(const struct torc__sim_file *file, int advice)
{
	if (file->kind->is_pipe)
		return -ESPIPE;
	return advice < POSIX_FADV_NORMAL || advice > POSIX_FADV_NOREUSE ? -EINVAL : 0;
}
