/*
 * io/internal/handover.h - listening sockets from the process that serves to the one that is to follow it.
 *
 * Over a Unix socket of records, at a path that both know:
 *
 *	new				old
 *	torc handover 1			->
 *			<-		listen ADDRESS, with the sockets, until all are through
 *			<-		end
 *	(listens on all of them)
 *	ready				->
 *			<-		bye
 *	(takes the path)		(accepts no more, and drains)
 *	(closes the connection)		->
 *					(leaves the path)
 *
 * Until "ready" nothing has changed for the old one: when the connection ends before, it serves on and listens for another one.
 * "bye" is the answer to who comes too late: the old one may have given up waiting, and serves. A connection that ends
 * without it means that the old one has died, or was stopped, if nobody is at the path any more; the new one has its
 * sockets then and serves. Who asks at the old path between "ready" and the end is reset, asks again, and finds the new one.
 *
 * The kernel's queue of connections belongs to the socket, not to a process: nobody who connects meanwhile notices.
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
 * else listens there; -ENOTSOCK: something else is there; -EAGAIN: it does not answer; or as the calls that it takes. In
 * any case torc__handover_done follows.
 */
int torc__handover_request(const char *path, struct torc__handover *ret);

/* The first socket for an address, or -1; it is the caller's from now on. */
int torc__handover_take(struct torc__handover *h, const char *address);

/*
 * Listen for the next one, tell the old process to go, and take its path. What has not been taken is closed, and its files are
 * removed. Done with h when this returns. 0; *ret_unnamed: this process serves, but the path could not be taken: a negative
 * errno, or 0. Otherwise the old process serves on; -EAGAIN: it has given up waiting for this one.
 */
int torc__handover_replace(struct torc__handover *h, const char *path,
			   struct torc_listener *ret_listener, int *ret_unnamed);

void torc__handover_done(struct torc__handover *h);

/*
 * Give these to those who ask, until one says that it serves: 0, and *ret_fd is for torc__handover_goodbye, soon.
 * Otherwise as torc_accept. *given (read by other loops): another process has them, or is about to, and what belongs to
 * them is not to be removed.
 */
int torc__handover_offer(struct torc_listener *listener, const struct torc__socket *sockets,
			 size_t count, bool *given, int *ret_fd);

/* Returns when the new process has the path. Closes fd. */
void torc__handover_goodbye(int fd);

#endif
