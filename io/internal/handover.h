/*
 * io/internal/handover.h - listening sockets from the process that serves to the one that is to follow it.
 *
 * Over a Unix socket of records, at a path that both know:
 *
 *	new				old
 *	torc handover 1			->
 *			<-		listen ADDRESS, with the sockets, until all are through
 *			<-		end
 *	(listens on all of them, takes the path)
 *	ready				->
 *					(accepts no more, and drains)
 *
 * Until "ready" nothing has changed for the old one. The kernel's queue of connections belongs to the socket, not to a
 * process: nobody who connects meanwhile notices.
 */
#ifndef TORC_IO_INTERNAL_HANDOVER_H
#define TORC_IO_INTERNAL_HANDOVER_H

#include <torc/io/listener.h>

/* An address as it was asked for, and a socket that listens there. */
struct torc__socket {
	char *address;
	int fd;
};

struct torc__handover {
	int peer; /* -1: nobody serves at that path */
	struct torc__socket *sockets;
	size_t count;
};

/*
 * Ask who serves at a path for its sockets. 0, also when there is nobody; -EPERM: it is not of this user; -EPROTO: something
 * else listens there; or as the calls that it takes. In any case torc__handover_done follows.
 */
int torc__handover_request(const char *path, struct torc__handover *ret);

/* The first socket for an address, or -1; it is the caller's from now on. */
int torc__handover_take(struct torc__handover *h, const char *address);

/* Listen at the path, in place of the old process, for the next one; then tell it to go. */
int torc__handover_replace(struct torc__handover *h, const char *path,
			   struct torc_listener *ret_listener);

void torc__handover_done(struct torc__handover *h);

/* Give these to those who ask, until one says that it serves: 1. Otherwise as torc_accept. */
int torc__handover_offer(struct torc_listener *listener, const struct torc__socket *sockets,
			 size_t count);

#endif
