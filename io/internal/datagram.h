/*
 * io/internal/datagram.h - a datagram socket, which datagram.c opens and closes: datagram_rx.c receives, datagram_train.c gathers
 * what is to be sent, datagram_tx.c sends it.
 */
#ifndef TORC_IO_INTERNAL_DATAGRAM_H
#define TORC_IO_INTERNAL_DATAGRAM_H

#include <torc/io/datagram.h>

#include "core/internal/trap.h"

/* What one operation may carry as segments: UDP_MAX_SEGMENTS of Linux 6.1, and an IP packet less its headers. */
#define TORC__SEGMENTS_MAX    64u
#define TORC__TRAIN_BYTES_MAX 65000u

/* A few datagrams of the smallest kind fit without a chunk. */
#define TORC__TRAIN_SMALL 256u

/*
 * Datagrams to one peer that go out as one operation, of equal size but the last one, which may be shorter. With
 * `split` set they go out one by one: the kernel, or the way to the peer, did not take them together.
 *
 *	FREE --> PENDING <--> FLYING --> FREE
 */
struct torc__train {
	struct torc_op op;
	struct torc_dgram *dgram;
	struct torc__train *next; /* in `pending`, or of the free ones */
	struct torc__train *next_all, **all_link;
	struct msghdr message;
	struct iovec iov;
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(uint16_t))];
	struct torc_address to; /* len 0: the connected peer */
	char *data;
	uint32_t capacity, len, sent, flying; /* sent: when split; flying: bytes of the operation */
	uint16_t segment;
	uint8_t count;
	bool closed; /* the last one was shorter */
	bool split, waits, again;
	char small[TORC__TRAIN_SMALL];
};

/* Which socket it is, for descriptions of waits. */
void torc__dgram_describe(const struct torc_dgram *d, struct torc__message *m);

/* --- rx --- */

/* Waits until the operation, which is cancelled, is over. */
void torc__dgram_rx_end(struct torc_dgram *d);

/* Gives back what was received, and frees the buffers. */
void torc__dgram_rx_done(struct torc_dgram *d);

/* --- tx --- */

void torc__dgram_tx_begin(struct torc_dgram *d);

/* The first failure that has not been told; it is told now. */
int torc__dgram_tx_error(struct torc_dgram *d);

void torc__dgram_tx_cancel(struct torc_dgram *d);

/* Waits until all that was sent, and is cancelled, is over. `closing` is set. */
void torc__dgram_tx_end(struct torc_dgram *d);

/* --- trains --- */

/* What is not sent yet counts as so many bytes of the queue. */
static inline size_t torc__train_charge(size_t len)
{
	return len + sizeof(struct torc__train) / TORC__SEGMENTS_MAX;
}

/* Does the kernel cut up what is given to it in one piece? Where it does, the table of trains is made. 0 or -ENOMEM. */
int torc__trains_probe(struct torc_dgram *d);

/* Adds a datagram to the train that grows for its peer, or to a new one. 0 or -ENOMEM. */
int torc__train_add(struct torc_dgram *d, const void *data, size_t len,
		    const struct torc_address *to);

/* At the end of this turn it starts, or goes on. */
void torc__train_queue(struct torc__train *t);

/* All that are to start now, as a list; none of them grows any more. */
struct torc__train *torc__trains_take(struct torc_dgram *d);

void torc__train_drop(struct torc__train *t);

/* Frees what is kept for later ones. */
void torc__trains_done(struct torc_dgram *d);

#endif
