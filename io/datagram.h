/*
 * io/datagram.h - a datagram socket with buffers: receive without copying, send many in one go.
 *
 *	struct torc_dgram d;
 *	struct torc_datagram in;
 *
 *	r = torc_dgram_open(&d, "udp://127.0.0.1:7000", NULL);
 *	...
 *	while ((r = torc_dgram_recv(&d, &in)) == 0)
 *		r = torc_dgram_send(&d, in.data, in.len, &in.from);
 *	torc_dgram_close(&d);
 *
 * For now and then a datagram torc_sendto and torc_recvfrom (io/socket.h) do.
 *
 * Receiving. The kernel puts datagrams into a ring of buffers that the socket has for itself, and torc_dgram_recv shows one after the
 * other. When nobody takes them, the buffers fill up, then the socket's own in the kernel (recv_bytes), and what comes then is
 * lost, as is the way of datagrams: memory does not grow.
 *
 * Sending. torc_dgram_send copies into a queue that goes out once, at the end of the loop's turn. Of those to one peer that are as long
 * as each other, up to 64 are handed to the kernel as one piece, which it cuts up as late as it can (UDP_SEGMENT): that is several
 * times cheaper. The order of datagrams to one peer is kept, that of datagrams to several is not. Only what the kernel does not take
 * at once, because its buffer is full or a piece is longer than the path takes, may be overtaken by what was sent after it.
 *
 * Errors of what was queued come too late for the call that has queued it. A socket that is connected tells the next
 * torc_dgram_send. One that is not, and so sends to many, tells torc_dgram_flush and counts: what one peer's host refuses
 * is no reason to fail another's. Datagrams over Unix sockets are not queued: each is sent, or waits, by itself.
 *
 * One fiber receives at a time; any number of the loop's may send.
 */
#ifndef TORC_IO_DATAGRAM_H
#define TORC_IO_DATAGRAM_H

#include <torc/core/op.h>
#include <torc/core/sync.h>
#include <torc/io/address.h>

TORC_BEGIN_DECLS

struct torc__train;
struct torc__wait;

/* The most that a UDP datagram holds: 65507 bytes over IPv4. */
#define TORC_DATAGRAM_MAX 65527

/* How to open; zeroed means the defaults. */
struct torc_dgram_options {
	const char *peer; /* connect: receive from and send to this address only */
	unsigned
		datagram_bytes; /* the longest one to receive whole: default 2048, with gro 65535 */
	unsigned recv_count;    /* buffers, up to 32768, made a power of two: default 256, gro 64 */
	unsigned queue_bytes;   /* unsent ones, with their bookkeeping; default 256 KiB */
	unsigned segment_bytes; /* the longest ones that go out as one piece: default 1232, which
				    fits any path of IPv6; more than the path takes is sent again
				    one by one. 1: never as one */
	int recv_bytes, send_bytes; /* of the socket's buffers in the kernel, which has limits */
	int ttl;                    /* 1 .. 255: how many routers to pass; multicast too */
	const char *device;         /* what comes and goes through this interface only */
	bool reuse_port;    /* SO_REUSEPORT: a socket per loop, the kernel spreads the peers */
	bool reuse_address; /* SO_REUSEADDR: for multicast, several receivers of a group */
	bool broadcast;     /* may send to broadcast addresses */
	bool gro;        /* several datagrams of one peer may come as one: torc_datagram.segment */
	bool v6_only;    /* "[::]" does not take IPv4 */
	bool want_local; /* tell the address that a datagram was sent to: torc_datagram.local */
	bool want_tos;   /* tell its type of service: torc_datagram.tos */
};

/* A datagram that was received. */
struct torc_datagram {
	const char *data; /* valid until the next torc_dgram_recv, _release or _close */
	size_t len;
	struct torc_address from; /* len 0: a Unix socket without a name */
	uint32_t
		segment; /* gro: > 0: it is several, of so many bytes each, the last as many as are left */
	bool truncated;            /* it was longer than datagram_bytes: the rest is lost */
	uint8_t tos;               /* want_tos: DSCP, and in the lowest two bits ECN */
	uint32_t interface;        /* want_local: the index of the one it came through */
	struct torc_address local; /* want_local: without a port; else its len is 0 */
};

/* What a socket has done since it was opened. */
struct torc_dgram_stats {
	uint64_t received, truncated;
	uint64_t sent;   /* taken by the kernel */
	uint64_t failed; /* not taken by the kernel, or dropped by torc_dgram_close */
	uint64_t
		sends; /* operations for those sent: fewer than `sent` where they went out as one piece */
	uint64_t exhausted; /* how often all receive buffers were in use */
};

/* Caller's memory from torc_dgram_open to torc_dgram_close. The fields are private. */
struct torc_dgram {
	struct torc_op rx;
	struct torc__turn_work work;
	struct torc__wait *rx_wait, *tx_wait;
	struct torc__buffers *buffers;
	int fd, group;
	int32_t rx_error, tx_error;
	bool connected, closing, is_unix, segments, owns_path;
	uint8_t cmsg; /* want_local, want_tos, gro: some control data comes */
	unsigned datagram_bytes, recv_count, queue_bytes, segment_bytes;
	struct msghdr layout; /* of received ones: room for name and control data */
	struct msghdr single; /* of the one to come, without recv_multishot */
	struct iovec single_iov;
	char *memory; /* the ring's entries, then the buffers */
	size_t mapped_bytes, entries_bytes, buffer_bytes;
	struct torc__dgram_entry *queue; /* [recv_count]: received, not shown yet */
	unsigned queue_head, queue_count;
	int held, single_id;             /* the buffer that is shown, or -1 */
	struct torc__train *all, *spare; /* those that hold datagrams; free ones */
	struct torc__train *pending, **pending_tail, **open;
	unsigned spare_count;
	size_t unsent_bytes;
	struct torc_mutex tx_turn; /* who waits for room */
	struct torc_dgram_stats stats;
	struct torc_address local;
};

/*
 * torc_dgram_open - a datagram socket, bound or connected or both.
 *
 *   @address  where to be bound: "udp://HOST:PORT", "HOST:PORT", ":PORT", "unixgram:PATH", "unixgram:@NAME" (io/address.h);
 *             NULL: nowhere yet, for one with options.peer. "[::]:PORT" takes IPv4 too. A socket file that is nobody's
 *             any more is replaced
 *   @options  may be NULL
 *
 * Returns     0
 *             -EINVAL       not such an address, or one for streams; neither address nor peer; an option out of its range
 *             -ENODEV       no such interface
 *             -EADDRINUSE, -EADDRNOTAVAIL, -EACCES, -EMFILE, ...   as socket(2), bind(2), connect(2)
 *             -ENOMEM
 *             -ECANCELED, -ETIMEDOUT   the scope, with options.peer
 * Suspends    with options.peer
 * Thread      a fiber's; the socket belongs to its loop
 */
TORC_API TORC_MUST_CHECK int torc_dgram_open(struct torc_dgram *dgram, const char *address,
					     const struct torc_dgram_options *options);

/*
 * torc_dgram_recv - the next datagram. The one shown before is given back.
 *
 * Returns     0
 *             -ECONNREFUSED   connected: nobody is bound there, says its host; told once, and then it goes on
 *             -ENOMEM         no memory for the buffers, which are made by the first call
 *             -ENOSPC         more than 1024 sockets with buffers on this loop
 *             -ECANCELED, -ETIMEDOUT   the scope; no datagram was lost
 * Suspends    if none is there
 * Source      recvmsg(2), io_uring_prep_recvmsg_multishot(3), udp(7)
 */
TORC_API TORC_MUST_CHECK int torc_dgram_recv(struct torc_dgram *dgram,
					     struct torc_datagram *ret_datagram);

/* torc_dgram_release - give the datagram that is shown back before the next one is asked for. */
TORC_API void torc_dgram_release(struct torc_dgram *dgram);

/*
 * torc_dgram_send - send a datagram, at the end of this turn.
 *
 *   @data  [len] bytes, copied; 0 bytes are a datagram too
 *   @to    NULL: the peer of a connected socket
 *
 * Returns     0               it is on its way; Unix: the peer has it
 *             -EMSGSIZE       it is longer than any datagram
 *             -EDESTADDRREQ   no address and no peer
 *             -ECONNREFUSED, ...   connected: an error that an earlier one has met. This one was not queued
 *             -ENOMEM
 *             -ECANCELED, -ETIMEDOUT   the scope; it was not queued
 *             Unix: or as torc_sendto
 * Suspends    if queue_bytes are waiting to be sent; Unix: always
 * Source      sendmsg(2), udp(7) about UDP_SEGMENT
 */
TORC_API TORC_MUST_CHECK int torc_dgram_send(struct torc_dgram *dgram, const void *data, size_t len,
					     const struct torc_address *to);

/*
 * torc_dgram_flush - wait until the kernel has taken what was sent.
 *
 * Returns     0
 *             -ENETUNREACH, -EPERM, -EMSGSIZE, ...   the first error since the last flush: see struct torc_dgram_stats for how
 *                          many datagrams it was
 *             -ECANCELED, -ETIMEDOUT   the scope
 * Suspends    if something is unsent
 */
TORC_API TORC_MUST_CHECK int torc_dgram_flush(struct torc_dgram *dgram);

/*
 * torc_dgram_join, torc_dgram_leave - receive what is sent to a group, and not any more. Groups that others on this machine have
 * joined are not heard, also by a socket that is bound to any address.
 *
 *   @group      "239.1.2.3:0", "[ff02::1234]:0": the port does not count
 *   @interface  its name; NULL: the one that the system prefers
 *
 * Returns     0
 *             -EINVAL          not an address of a group, or of another family than the socket
 *             -ENODEV          no such interface
 *             -EADDRINUSE      already joined
 *             -EADDRNOTAVAIL   not joined
 *             -ENOBUFS         too many (net.ipv4.igmp_max_memberships)
 * Suspends    never
 * Source      ip(7), MCAST_JOIN_GROUP
 */
TORC_API TORC_MUST_CHECK int torc_dgram_join(struct torc_dgram *dgram, const char *group,
					     const char *interface);
TORC_API TORC_MUST_CHECK int torc_dgram_leave(struct torc_dgram *dgram, const char *group,
					      const char *interface);

/* torc_dgram_address - where it is bound, with the port that the kernel chose for 0. */
TORC_API const struct torc_address *torc_dgram_address(const struct torc_dgram *dgram);

TORC_API void torc_dgram_stats(const struct torc_dgram *dgram, struct torc_dgram_stats *ret_stats);

/*
 * torc_dgram_close - flush, as far as the scope allows, and close. The file of a Unix socket is removed.
 *
 * Returns     0, or as torc_dgram_flush
 * Suspends    briefly, in a cancelled scope too: the kernel has let go of all memory when it returns
 */
TORC_API int torc_dgram_close(struct torc_dgram *dgram);

TORC_END_DECLS

#endif
