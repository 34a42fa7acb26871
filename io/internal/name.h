/*
 * io/internal/name.h - between the parts of io/name.h: names as text (name.c), names that are looked up and kept
 * (name_cache.c), and who knows their addresses (name_libc.c).
 */
#ifndef TORC_IO_INTERNAL_NAME_H
#define TORC_IO_INTERNAL_NAME_H

#include <torc/io/name.h>

/* A name as it is looked up: in lower case, with its last dot, and a zero byte. */
#define TORC__NAME_BYTES (TORC_NAME_MAX + 2)

/* An address as it is kept, a quarter of a struct torc_address. */
union torc__ip {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct torc__ips {
	unsigned count;
	union torc__ip list[TORC_NAME_ADDRESSES_MAX];
};

/* A host that is a name and no address. Returns 0, -EINVAL, -ENAMETOOLONG. */
int torc__name_read(const char *host, char ret_name[TORC__NAME_BYTES]);

/*
 * Who knows: called by a thread that may wait. Returns 0 and 1 or more addresses, or a negative errno. A test puts its own
 * here while no lookup runs.
 */
typedef int torc__resolver_fn(const char *name, int family, struct torc__ips *ret);

extern torc__resolver_fn *torc__resolver;

/* The C library, which is the default; -ENOSYS on the simulator. */
int torc__resolve_by_libc(const char *name, int family, struct torc__ips *ret);

struct addrinfo;

/* Its error, and errno where that is EAI_SYSTEM, as a negative errno; never one that a scope or a signal causes. */
int torc__name_error(int error, int system_error);

/* Its list, without what is there twice; -ENODATA where nothing is left. */
int torc__ips_collect(const struct addrinfo *all, struct torc__ips *ret);

/* From the cache, or by a lookup; as torc_resolve. */
int torc__name_look_up(const char *name, int family, struct torc__ips *ret);

/* For tests: how many names there are in each state, and the places of lookups that are taken. */
struct torc__name_counts {
	unsigned waiting, running, kept, workers;
};

void torc__name_counts(struct torc__name_counts *ret);

#endif
