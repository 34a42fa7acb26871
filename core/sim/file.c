#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/sim/sim.h"

#define FILES_MOST 65536

void *torc__sim_alloc(size_t bytes)
{
	void *memory = calloc(1, bytes ? bytes : 1);

	if (!memory)
		torc__sim_fail("no memory", NULL);
	return memory;
}

/* --- descriptors --- */

void torc__sim_file_init(struct torc__sim_file *file, const struct torc__sim_file_kind *kind,
			 int flags)
{
	file->kind = kind;
	file->references = 1;
	file->flags = flags;
	file->waiting = NULL;
	file->waiting_tail = &file->waiting;
}

void torc__sim_file_hold(struct torc__sim_file *file)
{
	file->references++;
}

void torc__sim_file_drop(struct torc__sim_file *file)
{
	if (!--file->references)
		file->kind->destroy(file);
}

static size_t free_slot(struct torc__sim *sim)
{
	size_t i = 0, capacity = sim->files_capacity ? 2 * sim->files_capacity : 64;
	struct torc__sim_file **files;

	while (i < sim->files_capacity && sim->files[i])
		i++;
	if (i < sim->files_capacity)
		return i;
	files = torc__sim_alloc(capacity * sizeof(*files));
	if (sim->files_capacity)
		memcpy(files, sim->files, sim->files_capacity * sizeof(*files));
	free(sim->files);
	sim->files = files;
	sim->files_capacity = capacity;
	return i;
}

/* The reference of file_init becomes the descriptor's. */
int torc__sim_fd_open(struct torc__sim_file *file)
{
	size_t i = free_slot(torc__sim);

	if (i >= FILES_MOST) {
		torc__sim_file_drop(file);
		return -EMFILE;
	}
	torc__sim->files[i] = file;
	file->descriptors++;
	torc__sim_note("open", TORC_SIM_FD + (int64_t)i, 0, 0);
	return TORC_SIM_FD + (int)i;
}

struct torc__sim_file *torc__sim_fd_file(int fd)
{
	size_t i = (size_t)(fd - TORC_SIM_FD);

	return fd >= TORC_SIM_FD && i < torc__sim->files_capacity ? torc__sim->files[i] : NULL;
}

int torc__sim_fd_close(int fd)
{
	struct torc__sim_file *file = torc__sim_fd_file(fd);

	if (!file)
		return -EBADF;
	torc__sim_note("close", fd, 0, 0);
	torc__sim->files[fd - TORC_SIM_FD] = NULL;
	if (!--file->descriptors && file->kind->close)
		file->kind->close(file);
	torc__sim_file_drop(file);
	return 0;
}

void torc__sim_files_end(void)
{
	struct torc__sim *sim = torc__sim;

	for (size_t i = 0; i < sim->files_capacity; i++) {
		if (!sim->files[i])
			continue;
		torc__sim_note("left", TORC_SIM_FD + (int64_t)i, 0, 0);
		torc__sim_fail("a descriptor was never closed", sim->files[i]->kind->name);
	}
	for (struct torc__sim_name *name = sim->names, *next; name; name = next) {
		next = name->next;
		free(name);
	}
	sim->names = NULL;
}

/* --- bytes --- */

void torc__sim_bytes_put(struct torc__sim_bytes *bytes, const void *data, size_t len)
{
	if (!len)
		return;
	if (bytes->head + bytes->len + len > bytes->capacity) {
		size_t capacity = 2 * (bytes->len + len) + 64;
		char *moved = torc__sim_alloc(capacity);

		if (bytes->len)
			memcpy(moved, bytes->data + bytes->head, bytes->len);
		free(bytes->data);
		bytes->data = moved;
		bytes->head = 0;
		bytes->capacity = capacity;
	}
	memcpy(bytes->data + bytes->head + bytes->len, data, len);
	bytes->len += len;
}

size_t torc__sim_bytes_take(struct torc__sim_bytes *bytes, void *buf, size_t len, bool peek)
{
	if (len > bytes->len)
		len = bytes->len;
	if (len)
		memcpy(buf, bytes->data + bytes->head, len);
	if (!peek) {
		bytes->head += len;
		bytes->len -= len;
		if (!bytes->len)
			bytes->head = 0;
	}
	return len;
}

void torc__sim_bytes_done(struct torc__sim_bytes *bytes)
{
	free(bytes->data);
	*bytes = (struct torc__sim_bytes){ .data = NULL };
}

/* --- addresses --- */

int torc__sim_address_read(const struct sockaddr *address, socklen_t len, struct torc_address *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (len < sizeof(sa_family_t) || len > sizeof(ret->un))
		return -EINVAL;
	memcpy(&ret->any, address, len);
	ret->len = len;
	switch (address->sa_family) {
	case AF_INET: return len >= sizeof(ret->v4) ? 0 : -EINVAL;
	case AF_INET6: return len >= sizeof(ret->v6) ? 0 : -EINVAL;
	case AF_UNSPEC: /* dissolves a connection */
	case AF_UNIX: return 0;
	default: return -EAFNOSUPPORT;
	}
}

void torc__sim_address_write(const struct torc_address *address, struct sockaddr *ret,
			     socklen_t *len)
{
	if (!ret || !len)
		return;
	memcpy(ret, &address->any, *len < address->len ? *len : address->len);
	*len = address->len;
}

static in_port_t *port_of(struct torc_address *a)
{
	return a->any.sa_family == AF_INET6 ? &a->v6.sin6_port : &a->v4.sin_port;
}

static bool is_unix(const struct torc_address *a)
{
	return a->any.sa_family == AF_UNIX;
}

static bool is_wildcard(const struct torc_address *a)
{
	return a->any.sa_family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(&a->v6.sin6_addr)
					    : a->v4.sin_addr.s_addr == htonl(INADDR_ANY);
}

static bool same_host(const struct torc_address *a, const struct torc_address *b)
{
	if (a->any.sa_family == AF_INET6)
		return IN6_ARE_ADDR_EQUAL(&a->v6.sin6_addr, &b->v6.sin6_addr);
	return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
}

bool torc__sim_is_abstract(const struct torc_address *a)
{
	return is_unix(a) && !a->un.sun_path[0];
}

/* A path ends at its zero byte, an abstract name at its length: what is behind it was zeroed. */
static bool same_path(const struct torc_address *a, const struct torc_address *b)
{
	if (torc__sim_is_abstract(a))
		return a->len == b->len && !memcmp(&a->un, &b->un, sizeof(a->un));
	return !strncmp(a->un.sun_path, b->un.sun_path, sizeof(a->un.sun_path) - 1);
}

/* Would packets for one reach the other? */
static bool collide(struct torc_address *a, struct torc_address *b)
{
	if (a->any.sa_family != b->any.sa_family)
		return false;
	if (is_unix(a))
		return same_path(a, b);
	return *port_of(a) == *port_of(b) && (is_wildcard(a) || is_wildcard(b) || same_host(a, b));
}

static struct torc__sim_name *find_bound(struct torc_address *address, int type)
{
	struct torc__sim_name *name = torc__sim->names;

	while (name &&
	       ((!is_unix(address) && name->type != type) || !collide(&name->address, address)))
		name = name->next;
	return name;
}

static void choose_port(struct torc_address *address, int type)
{
	do
		*port_of(address) = htons(torc__sim->next_port++ | 32768);
	while (find_bound(address, type));
}

/* With SO_REUSEADDR too only one of them listens. */
static bool may_share(const struct torc__sim_name *a, bool a_listens,
		      const struct torc__sim_name *b)
{
	if (a->reuse & b->reuse & TORC__SIM_REUSE_PORT)
		return true;
	return a->reuse & b->reuse & TORC__SIM_REUSE_ADDRESS && !(a_listens && b->listens);
}

static bool may_share_all(struct torc__sim_name *name, bool listens)
{
	for (struct torc__sim_name *n = torc__sim->names; n; n = n->next)
		if (n != name && n->type == name->type && collide(&n->address, &name->address) &&
		    !may_share(name, listens, n))
			return false;
	return true;
}

static struct torc__sim_name *name_of(const struct torc__sim_file *file)
{
	struct torc__sim_name *n = torc__sim->names;

	while (n && n->file != file)
		n = n->next;
	return n;
}

int torc__sim_name_bind(struct torc_address *address, int type, unsigned reuse,
			struct torc__sim_file *file)
{
	struct torc__sim_name *name, **end = &torc__sim->names, asked;

	if (!is_unix(address) && !*port_of(address))
		choose_port(address, type);
	asked = (struct torc__sim_name){
		.address = *address, .type = type, .reuse = reuse, .file = file
	};
	/* What listens does not share with one that may come to listen. */
	if (is_unix(address) ? find_bound(address, type) != NULL : !may_share_all(&asked, true))
		return -EADDRINUSE;
	name = torc__sim_alloc(sizeof(*name));
	*name = asked;
	while (*end)
		end = &(*end)->next;
	*end = name;
	return 0;
}

int torc__sim_name_listen(struct torc__sim_file *file)
{
	struct torc__sim_name *name = name_of(file);

	if (!name || name->listens)
		return 0;
	if (!is_unix(&name->address) && !may_share_all(name, true))
		return -EADDRINUSE;
	name->listens = true;
	return 0;
}

void torc__sim_name_deafen(struct torc__sim_file *file)
{
	struct torc__sim_name *name = name_of(file);

	if (name)
		name->listens = false;
}

bool torc__sim_name_is_taken(const struct torc_address *address)
{
	struct torc_address wanted = *address;

	return find_bound(&wanted, 0);
}

struct torc__sim_name *torc__sim_name_find(const struct torc_address *address, int type)
{
	struct torc_address wanted = *address;
	struct torc__sim_name *found[64];
	size_t count = 0;
	bool listens = false;

	for (struct torc__sim_name *n = torc__sim->names; n && count < 64; n = n->next) {
		if (n->type != type || !collide(&n->address, &wanted))
			continue;
		if (n->listens && !listens)
			count = 0; /* those before it are not meant */
		listens |= n->listens;
		if (n->listens == listens)
			found[count++] = n;
	}
	return count ? found[count > 1 ? torc__sim_draw(TORC__SIM_WORLD, count) : 0] : NULL;
}

void torc__sim_name_release(struct torc__sim_file *file)
{
	struct torc__sim_name **link = &torc__sim->names, *name;

	while ((name = *link)) {
		if (name->file != file) {
			link = &name->next;
			continue;
		}
		name->file = NULL;
		if (is_unix(&name->address) &&
		    !torc__sim_is_abstract(
			    &name->address)) { /* its path stays, until it is unlinked */
			link = &name->next;
			continue;
		}
		*link = name->next;
		free(name);
	}
}

int torc__sim_name_unlink(const char *path)
{
	struct torc__sim_name **link = &torc__sim->names, *name;

	for (; (name = *link); link = &name->next) {
		if (!is_unix(&name->address) || strcmp(name->address.un.sun_path, path))
			continue;
		*link = name->next;
		free(name);
		return 0;
	}
	return -ENOENT;
}
