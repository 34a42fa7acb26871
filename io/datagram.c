#include <torc/io/datagram.h>

#include <errno.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/ioctl.h>

#include <torc/core/sys.h>
#include <torc/io/socket.h>

#include "core/internal/fiber.h"
#include "core/internal/system.h"
#include "io/internal/buffers.h"
#include "io/internal/call.h"
#include "io/internal/datagram.h"
#include "io/internal/sockopt.h"

#define DATAGRAM_BYTES   2048u
#define RECV_COUNT       256u
#define RECV_COUNT_GRO   64u
#define RECV_COUNT_MAX   32768u
#define RECV_COUNT_LEAST 4u
#define QUEUE_BYTES      (256u * 1024)
#define SEGMENT_BYTES    1232u
#define GRO_BYTES        65535u

void torc__dgram_describe(const struct torc_dgram *d, struct torc__message *m)
{
	torc__message_text(m, " of fd ");
	torc__message_number(m, (unsigned)d->fd, 10);
}

/* --- groups --- */

/* if_nametoindex(3) would need a socket of its own. */
static int find_interface(int fd, const char *name, uint32_t *ret_index)
{
	struct ifreq q = { .ifr_ifindex = 0 };
	size_t len = strlen(name);

	if (!torc__on_linux() || len >= sizeof(q.ifr_name))
		return -ENODEV;
	memcpy(q.ifr_name, name, len);
	if (ioctl(fd, SIOCGIFINDEX, &q) < 0)
		return -errno;
	*ret_index = (uint32_t)q.ifr_ifindex;
	return 0;
}

static int change_group(struct torc_dgram *d, const char *text, const char *interface, int what)
{
	struct torc_address group;
	struct group_req q;
	int r = torc_address_parse(text, 0, &group);

	if (r < 0)
		return r;
	if (group.any.sa_family != d->local.any.sa_family || d->is_unix)
		return -EINVAL;
	memset(&q, 0, sizeof(q));
	memcpy(&q.gr_group, &group.any, group.len);
	if (interface)
		r = find_interface(d->fd, interface, &q.gr_interface);
	if (r < 0)
		return r;
	return torc_sys_setsockopt(d->fd,
				   d->local.any.sa_family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
				   what, &q, sizeof(q));
}

int torc_dgram_join(struct torc_dgram *d, const char *group, const char *interface)
{
	return change_group(d, group, interface, MCAST_JOIN_GROUP);
}

int torc_dgram_leave(struct torc_dgram *d, const char *group, const char *interface)
{
	return change_group(d, group, interface, MCAST_LEAVE_GROUP);
}

/* --- open and close --- */

struct asked {
	struct torc_address local, peer; /* len 0: not asked for */
	int family;
};

static int parse_one(const char *text, unsigned flags, struct torc_address *ret)
{
	int r = 0;

	ret->len = 0;
	if (text)
		r = torc_address_parse(text, flags, ret);
	return !r && text && ret->type && ret->type != SOCK_DGRAM ? -EINVAL : r;
}

static int parse(const char *address, const struct torc_dgram_options *o, struct asked *ret)
{
	int r = parse_one(address, TORC_ADDRESS_WILDCARD, &ret->local);

	if (!r)
		r = parse_one(o->peer, 0, &ret->peer);
	if (r < 0)
		return r;
	if (!address && !o->peer)
		return -EINVAL;
	ret->family = address ? ret->local.any.sa_family : ret->peer.any.sa_family;
	return o->peer && ret->peer.any.sa_family != ret->family ? -EINVAL : 0;
}

static unsigned power_of_2(unsigned n)
{
	unsigned p = RECV_COUNT_LEAST;

	while (p < n)
		p *= 2;
	return p;
}

static int set_numbers(struct torc_dgram *d, const struct torc_dgram_options *o)
{
	if (o->recv_count > RECV_COUNT_MAX || o->datagram_bytes > GRO_BYTES ||
	    o->segment_bytes > TORC__TRAIN_BYTES_MAX || o->ttl < 0 || o->ttl > 255)
		return -EINVAL;
	d->datagram_bytes = o->datagram_bytes ? o->datagram_bytes
			    : o->gro          ? GRO_BYTES
					      : DATAGRAM_BYTES;
	d->recv_count = power_of_2(o->recv_count ? o->recv_count
				   : o->gro      ? RECV_COUNT_GRO
						 : RECV_COUNT);
	d->queue_bytes = o->queue_bytes ? o->queue_bytes : QUEUE_BYTES;
	d->segment_bytes = o->segment_bytes ? o->segment_bytes : SEGMENT_BYTES;
	d->cmsg = o->gro || o->want_local || o->want_tos;
	return 0;
}

static int set_v6_options(int fd, const struct torc_dgram_options *o)
{
	int r = torc__set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, o->v6_only);

	if (!r && o->ttl)
		r = torc__set_int(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, o->ttl);
	if (!r && o->ttl)
		r = torc__set_int(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, o->ttl);
	/* As that of IPv4 below. */
	if (!r && torc__on_linux())
		r = torc__set_int(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
	if (!r && o->want_local)
		r = torc__set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
	return !r && o->want_tos ? torc__set_int(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) : r;
}

/* What a socket for both tells of IPv4 is asked for in the same way. */
static int set_v4_options(int fd, int family, const struct torc_dgram_options *o)
{
	/* Or it would hear each group that anybody on this machine has joined. The simulator has none. */
	int r = torc__on_linux() ? torc__set_int(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0) : 0;

	if (!r && o->ttl)
		r = torc__set_int(fd, IPPROTO_IP, IP_TTL, o->ttl);
	if (!r && o->ttl && family == AF_INET)
		r = torc__set_int(fd, IPPROTO_IP, IP_MULTICAST_TTL, o->ttl);
	if (!r && o->want_local && family == AF_INET)
		r = torc__set_int(fd, IPPROTO_IP, IP_PKTINFO, 1);
	return !r && o->want_tos ? torc__set_int(fd, IPPROTO_IP, IP_RECVTOS, 1) : r;
}

static int set_udp_options(int fd, int family, const struct torc_dgram_options *o)
{
	int r = o->broadcast ? torc__set_int(fd, SOL_SOCKET, SO_BROADCAST, 1) : 0;

	if (!r && o->reuse_port)
		r = torc__set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (!r && o->reuse_address)
		r = torc__set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (!r && o->gro)
		r = torc__set_int(fd, SOL_UDP, UDP_GRO, 1);
	if (!r && o->device)
		r = torc__set_device(fd, o->device);
	if (!r && family == AF_INET6)
		r = set_v6_options(fd, o);
	return r ? r : set_v4_options(fd, family, o);
}

static int bind_it(struct torc_dgram *d, const struct torc_address *a)
{
	int r = d->is_unix && a->un.sun_path[0] ? torc__remove_stale(a) : 0;

	if (!r)
		r = torc_sys_bind(d->fd, &a->any, a->len);
	d->owns_path = !r && d->is_unix && a->un.sun_path[0];
	if (d->owns_path)
		d->local = *a; /* to remove it, also when what follows fails */
	return r;
}

static int connect_it(struct torc_dgram *d, const struct torc_address *a)
{
	int r = torc_connect(d->fd, &a->any, a->len);

	d->connected = !r;
	return r;
}

static int set_up(struct torc_dgram *d, const struct asked *asked,
		  const struct torc_dgram_options *o)
{
	int r = torc_set_buffers(d->fd, o->recv_bytes, o->send_bytes);

	if (!r && !d->is_unix)
		r = set_udp_options(d->fd, asked->family, o);
	if (!r && !d->is_unix)
		r = torc__trains_probe(d);
	if (!r && asked->local.len)
		r = bind_it(d, &asked->local);
	if (!r && asked->peer.len)
		r = connect_it(d, &asked->peer);
	return r ? r : torc_local_address(d->fd, &d->local);
}

static void drop_all(struct torc_dgram *d)
{
	torc__trains_done(d);
	torc__dgram_rx_done(d);
	if (d->owns_path)
		torc_sys_unlink(d->local.un.sun_path);
	torc_mutex_done(&d->tx_turn);
}

int torc_dgram_open(struct torc_dgram *d, const char *address,
		    const struct torc_dgram_options *options)
{
	static const struct torc_dgram_options defaults;
	const struct torc_dgram_options *o = options ? options : &defaults;
	struct asked asked;
	int r = parse(address, o, &asked);

	*d = (struct torc_dgram){ .group = -1, .held = -1 };
	torc__dgram_tx_begin(d);
	d->is_unix = !r && asked.family == AF_UNIX;
	if (!r)
		r = set_numbers(d, o);
	if (r < 0)
		return r;
	d->buffers = torc__buffers(torc__self()->loop);
	if (!d->buffers)
		return -ENOMEM;
	d->fd = torc_sys_socket(asked.family, SOCK_DGRAM, 0);
	if (d->fd < 0)
		return d->fd;
	torc_mutex_init(&d->tx_turn);
	r = set_up(d, &asked, o);
	if (r < 0) {
		torc_sys_close(d->fd);
		drop_all(d);
	}
	return r;
}

const struct torc_address *torc_dgram_address(const struct torc_dgram *d)
{
	return &d->local;
}

void torc_dgram_stats(const struct torc_dgram *d, struct torc_dgram_stats *ret_stats)
{
	*ret_stats = d->stats;
}

/* Not to be cut short: the kernel still has our memory. */
static void end_operations(struct torc_dgram *d)
{
	d->closing = true;
	torc_op_cancel(&d->rx);
	torc__dgram_tx_cancel(d);
	torc__dgram_rx_end(d);
	torc__dgram_tx_end(d);
}

int torc_dgram_close(struct torc_dgram *d)
{
	int r = d->unsent_bytes ? torc_dgram_flush(d) : torc__dgram_tx_error(d);

	end_operations(d);
	torc_sys_close(d->fd);
	drop_all(d);
	return r;
}
