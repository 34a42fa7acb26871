/*
 * io/name.h - the addresses of a name, as getaddrinfo(3) finds them: /etc/hosts, DNS, or what nsswitch.conf says.
 *
 * To connect, torc_dial("tcp://example.org:443") (io/socket.h) is all there is to it: it tries the addresses as it should. For
 * those who want them otherwise:
 *
 *	struct torc_addresses found;
 *
 *	r = torc_resolve("example.org", 443, NULL, &found);
 *	for (unsigned i = 0; !r && i < found.count; i++)
 *		use(&found.list[i]);
 *
 * getaddrinfo(3) blocks, for many seconds when a name server is dead. It runs on threads of torc_offload_executor
 * (executor/offload.h), at most TORC_LOOKUPS_MAX at a time in the process, so that a flood of names does not take all threads; more
 * wait in line. A fiber that is cancelled leaves at once. The lookup that it has waited for goes on, unless it is still in line and
 * nobody else waits for it.
 *
 * Those who ask for the same name at the same time share one lookup, and what it has found is kept: in one cache for all loops,
 * of so many names and for so long as torc_name_cache_configure says. getaddrinfo(3) does not tell how long a name server
 * wants an answer to be kept, so that time is a guess. What failed for the moment is not kept.
 */
#ifndef TORC_IO_NAME_H
#define TORC_IO_NAME_H

#include <torc/core/api.h>
#include <torc/core/sockaddr.h>

TORC_BEGIN_DECLS

/* The longest name, without a dot at its end; a label of it has at most 63 bytes. */
#define TORC_NAME_MAX 253

/* So many addresses of a name are looked at. */
#define TORC_NAME_ADDRESSES_MAX 16

/* Lookups that run at the same time, in the whole process. */
#define TORC_LOOKUPS_MAX 32

/* Some 2 KiB, to be had on the stack. */
struct torc_addresses {
	unsigned count; /* 1 .. TORC_NAME_ADDRESSES_MAX */
	struct torc_address list[TORC_NAME_ADDRESSES_MAX];
};

/* Zeroed means the defaults. */
struct torc_resolve_options {
	int family; /* AF_INET or AF_INET6: such addresses only; 0: both */
	int type; /* SOCK_STREAM or SOCK_DGRAM: put into the addresses; 0: not said. Changes nothing else */
};

/*
 * torc_resolve - the addresses of a name, the best one first (RFC 6724, as getaddrinfo(3) sorts them).
 *
 * "localhost", and what ends with ".localhost", is ::1 and 127.0.0.1, whatever the system's files say (RFC 6761). It and numeric
 * addresses are answered without any lookup.
 *
 * Of a name with more than TORC_NAME_ADDRESSES_MAX addresses both families are kept: at least half of that number of each, if it
 * has so many.
 *
 *   @host     a name of letters, digits, '-', '_' and dots; in other scripts in its ASCII form ("xn--..."). With a dot at its
 *             end no search domain is tried. Or a numeric address, "192.0.2.1", "2001:db8::1", "fe80::1%eth0"; other ways to
 *             write one, such as "0x7f.1", are refused
 *   @port     put into each address
 *   @options  may be NULL
 *   @ret      written only on success; none is there twice
 *
 * Returns     0
 *             -EINVAL        neither a name nor an address: empty, an empty label, another character; an option out of its range
 *             -ENAMETOOLONG  more than TORC_NAME_MAX bytes, or a label of more than 63
 *             -ENOENT        there is no such name (EAI_NONAME)
 *             -ENODATA       there is, without an address of this family (EAI_NODATA, EAI_ADDRFAMILY)
 *             -EAGAIN        no name server has answered, it asks to try later (EAI_AGAIN), or no thread could be started
 *             -EREMOTEIO     a name server refuses to answer, or what it says makes no sense (EAI_FAIL)
 *             -ENODEV        numeric: no interface of that name
 *             -ENOMEM        no memory
 *             -EMFILE, ...   what kept the library from asking (EAI_SYSTEM)
 *             -ENOSYS        the simulator: it has no names (docs/simulation.md)
 *             -ECANCELED, -ETIMEDOUT   the scope
 * Suspends    if there is something to look up; a thread that is not a fiber sleeps
 * Thread      any; but a task of torc_offload_executor, which this needs itself, calls getaddrinfo(3)
 * Source      getaddrinfo(3), gai.conf(5)
 */
TORC_API TORC_MUST_CHECK int torc_resolve(const char *host, uint16_t port,
					  const struct torc_resolve_options *options,
					  struct torc_addresses *ret);

/* How much is kept, and for how long; zeroed means the defaults. */
struct torc_name_cache_options {
	unsigned names_max; /* up to 65536: default 1024. What was used longest ago goes first */
	uint64_t found_ns;  /* the age at which addresses are forgotten: default 30 s */
	uint64_t
		missing_ns; /* and that a name, or its addresses, are not there: default 5 s. 1: as good as at once */
};

/*
 * torc_name_cache_configure - how the process keeps names from now on. What is there already keeps the age it was given.
 *
 *   @options  NULL: the defaults
 *
 * Returns     0
 *             -EINVAL   an option out of its range
 * Suspends    never
 * Thread      any
 */
TORC_API TORC_MUST_CHECK int torc_name_cache_configure(
	const struct torc_name_cache_options *options);

/*
 * torc_name_cache_clear - forget all names, for a program that sees the network change. Lookups that run are for those who wait
 * for them already, and are not kept: who asks from now on gets a new one.
 *
 * Suspends    never
 * Thread      any
 */
TORC_API void torc_name_cache_clear(void);

TORC_END_DECLS

#endif
