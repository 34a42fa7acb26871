/*
 * core/sim/datagram.c - datagram sockets: UDP, and Unix.
 *
 * A UDP datagram finds its receiver when it is sent, as on a loopback interface, and then is on its way: it belongs
 * to its receiver, and goes with it. A Unix datagram is there at once, and its sender waits while there is no room:
 *
 *	- its own, which its datagrams take until they are received (SO_SNDBUF), or
 *	- the receiver's, which queues a few of those that it is not connected to (net.unix.max_dgram_qlen).
 */
#include "core/sim/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_BYTES 212992u /* net.core.rmem_default, wmem_default */
#define UDP_MOST     65507u
#define UNIX_MOST    (BUFFER_BYTES - 32)
#define UNIX_QUEUE   10 /* beyond so many it is full */

/* What a message takes of a socket's buffer beside its bytes: about what a struct sk_buff does. */
#define MESSAGE_BYTES 768u

#define LATENCY_NS 10000u

struct datagram;

struct message {
	struct message *next, **link;
	struct torc__sim_event event; /* when it arrives */
	struct datagram *receiver;
	struct datagram *sender; /* who waits for its room; NULL: nobody, or it is gone */
	struct torc_address from;
	size_t len;
	char data[];
};

struct datagram {
	struct torc__sim_file file; /* first */
	struct datagram *next, **link;
	int domain;
	bool bound;
	bool connected;
	bool port_chosen,
		address_chosen; /* by the kernel: a connection that is dissolved takes them with it */
	struct torc_address local, peer;
	struct datagram *other; /* Unix: the peer; NULL though connected: it is gone */
	int error;              /* what the next call returns */
	bool blocked;           /* tell it when there is room */

	struct message *coming;
	struct message *first, **tail;
	size_t queued, queued_bytes;
	size_t sent_bytes;   /* Unix: not received yet */
	uint64_t arrival_ns; /* UDP: of the last one that it sent */
};

/* In the order of their creation, the newest first. */
static struct datagram *sockets;

static struct datagram *datagram_of(struct torc__sim_file *file)
{
	return torc__container_of(file, struct datagram, file);
}

static int take_error(struct datagram *s)
{
	int r = s->error;

	s->error = 0;
	return r;
}

static void set_error(struct datagram *s, int error)
{
	s->error = error;
	torc__sim_changed(&s->file);
}

/* Somewhere there is room again. Who cannot use it waits again. */
static void wake_blocked(void)
{
	for (struct datagram *s = sockets; s; s = s->next) {
		if (!s->blocked)
			continue;
		s->blocked = false;
		torc__sim_changed(&s->file);
	}
}

/* --- messages --- */

static void list_message(struct message **at, struct message *m)
{
	m->next = *at;
	m->link = at;
	if (m->next)
		m->next->link = &m->next;
	*at = m;
}

static void unlist_message(struct message *m)
{
	*m->link = m->next;
	if (m->next)
		m->next->link = m->link;
}

static struct message *new_message(struct datagram *receiver, const void *buf, size_t len)
{
	struct message *m = torc__sim_alloc(sizeof(*m) + len);

	m->receiver = receiver;
	m->len = len;
	if (len)
		memcpy(m->data, buf, len);
	return m;
}

static void enqueue(struct message *m)
{
	struct datagram *s = m->receiver;

	list_message(s->tail, m);
	s->tail = &m->next;
	s->queued++;
	s->queued_bytes += MESSAGE_BYTES + m->len;
	torc__sim_changed(&s->file);
}

static void dequeue(struct datagram *s)
{
	struct message *m = s->first;

	if (s->tail == &m->next)
		s->tail = &s->first;
	unlist_message(m);
	s->queued--;
	s->queued_bytes -= MESSAGE_BYTES + m->len;
	if (m->sender)
		m->sender->sent_bytes -= MESSAGE_BYTES + m->len;
	free(m);
}

static void dequeue_all(struct datagram *s)
{
	while (s->first)
		dequeue(s);
	wake_blocked();
}

/* --- UDP: addresses --- */

static uint16_t *port_of(struct torc_address *a)
{
	return a->any.sa_family == AF_INET ? &a->v4.sin_port : &a->v6.sin6_port;
}

static bool is_any(const struct torc_address *a)
{
	if (a->any.sa_family == AF_INET)
		return a->v4.sin_addr.s_addr == htonl(INADDR_ANY);
	return IN6_IS_ADDR_UNSPECIFIED(&a->v6.sin6_addr);
}

static struct torc_address any_address(int domain)
{
	struct torc_address a = { .len = offsetof(struct sockaddr_un, sun_path) };

	if (domain == AF_INET)
		a.len = sizeof(a.v4);
	if (domain == AF_INET6)
		a.len = sizeof(a.v6);
	a.any.sa_family = (sa_family_t)domain;
	return a;
}

static struct torc_address to_v4(const struct torc_address *v6)
{
	struct torc_address a = any_address(AF_INET);

	memcpy(&a.v4.sin_addr, &v6->v6.sin6_addr.s6_addr[12], sizeof(a.v4.sin_addr));
	a.v4.sin_port = v6->v6.sin6_port;
	return a;
}

static struct torc_address to_v6(const struct torc_address *v4)
{
	struct torc_address a = any_address(AF_INET6);

	memset(&a.v6.sin6_addr.s6_addr[10], 0xff, 2);
	memcpy(&a.v6.sin6_addr.s6_addr[12], &v4->v4.sin_addr, sizeof(v4->v4.sin_addr));
	a.v6.sin6_port = v4->v4.sin_port;
	return a;
}

/* As it is in the packet: that of a mapped address is of IPv4. */
static struct torc_address on_wire(const struct torc_address *a)
{
	if (a->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr))
		return to_v4(a);
	return *a;
}

/* As the socket has it. */
static struct torc_address in_domain(int domain, const struct torc_address *a)
{
	return domain == AF_INET6 && a->any.sa_family == AF_INET ? to_v6(a) : *a;
}

static bool same_address(const struct torc_address *a, const struct torc_address *b)
{
	if (a->any.sa_family != b->any.sa_family)
		return false;
	if (a->any.sa_family == AF_INET)
		return a->v4.sin_port == b->v4.sin_port &&
		       a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
	return a->v6.sin6_port == b->v6.sin6_port &&
	       IN6_ARE_ADDR_EQUAL(&a->v6.sin6_addr, &b->v6.sin6_addr);
}

/* The unspecified address is this host's: with IPv4 the very one that the socket is bound to. */
static struct torc_address this_host(const struct datagram *s, const struct torc_address *any)
{
	struct torc_address local = on_wire(&s->local), host = *any;

	if (host.any.sa_family == AF_INET6)
		host.v6.sin6_addr = in6addr_loopback;
	else if (local.any.sa_family == AF_INET && !is_any(&local))
		host.v4.sin_addr = local.v4.sin_addr;
	else
		host.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return host;
}

/* Where a packet to an address goes. */
static int read_target(const struct datagram *s, const struct torc_address *address,
		       struct torc_address *ret)
{
	sa_family_t family = address->any.sa_family;

	if (family != s->domain && !(family == AF_INET && s->domain == AF_INET6))
		return -EAFNOSUPPORT;
	*ret = on_wire(address);
	if (is_any(ret))
		*ret = this_host(s, ret);
	return 0;
}

/* Where it comes from. Every address is this host's, and packets to it come from it, but for 127.0.0.0/8. */
static int choose_source(struct datagram *s, const struct torc_address *target,
			 struct torc_address *ret)
{
	*ret = on_wire(&s->local);
	if (!is_any(ret))
		return ret->any.sa_family == target->any.sa_family ? 0 : -EAFNOSUPPORT;
	*ret = *target;
	if (ret->any.sa_family == AF_INET && ntohl(ret->v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET)
		ret->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	*port_of(ret) = *port_of(&s->local);
	return 0;
}

static int autobind(struct datagram *s)
{
	if (s->bound)
		return 0;
	if (torc__sim_name_bind(&s->local, SOCK_DGRAM, 0, &s->file) < 0)
		return -EAGAIN;
	s->bound = s->port_chosen = true;
	return 0;
}

/* A connection gives a socket an address of its own: packets to others of this host go past it then. */
static void set_local(struct datagram *s, const struct torc_address *local)
{
	s->local = *local;
	for (struct torc__sim_name *n = torc__sim->names; n; n = n->next) {
		if (n->file == &s->file)
			n->address = *local;
	}
}

/* --- UDP: packets --- */

/* A connected socket receives from its peer only. */
static bool accepts(const struct datagram *s, const struct torc_address *from)
{
	struct torc_address peer;

	if (!s->connected)
		return true;
	peer = on_wire(&s->peer);
	return same_address(&peer, from);
}

static void arrive(struct torc__sim_event *event)
{
	struct message *m = torc__container_of(event, struct message, event);
	struct datagram *s = m->receiver;

	unlist_message(m);
	/* As the kernel has it: the one that goes beyond the buffer still goes in. */
	if (!accepts(s, &m->from) || s->queued_bytes > BUFFER_BYTES) {
		free(m);
		return;
	}
	m->from = in_domain(s->domain, &m->from);
	enqueue(m);
}

static void launch(struct datagram *receiver, const struct torc_address *from, const void *buf,
		   size_t len, uint64_t at_ns)
{
	struct message *m = new_message(receiver, buf, len);

	m->from = *from;
	list_message(&receiver->coming, m);
	torc__sim_at(&m->event, at_ns, arrive);
}

enum { LOST, DOUBLED, OVERTAKEN, ACCIDENTS };

/* However long each takes, those of one sender stay in order: but for TORC_SIM_LOSS. */
static void transmit(struct datagram *s, struct datagram *receiver, const struct torc_address *from,
		     const void *buf, size_t len)
{
	uint64_t at_ns = torc__sim->now_ns + torc__sim_latency(LATENCY_NS);
	uint64_t accident = ACCIDENTS, late_ns;

	if (at_ns <= s->arrival_ns)
		at_ns = s->arrival_ns + 1;
	late_ns = at_ns;
	if (torc__sim_chaos(TORC_SIM_LOSS)) {
		accident = torc__sim_draw(TORC_SIM_LOSS, ACCIDENTS);
		late_ns += 1 + torc__sim_draw(TORC_SIM_LOSS, 20 * LATENCY_NS);
	}
	if (accident == DOUBLED || accident == ACCIDENTS) {
		s->arrival_ns = at_ns;
		launch(receiver, from, buf, len, at_ns);
	}
	if (accident == DOUBLED || accident == OVERTAKEN)
		launch(receiver, from, buf, len, late_ns);
}

static struct datagram *find_udp(const struct torc_address *target, const struct torc_address *from)
{
	struct torc__sim_name *name = torc__sim_name_find(target, SOCK_DGRAM);
	struct torc_address mapped;
	struct datagram *s;

	if (!name && target->any.sa_family == AF_INET) {
		mapped = to_v6(target);
		name = torc__sim_name_find(&mapped, SOCK_DGRAM);
	}
	s = name && name->file ? datagram_of(name->file) : NULL;
	return s && accepts(s, from) ? s : NULL;
}

static ssize_t send_udp(struct datagram *s, const void *buf, size_t len,
			const struct torc_address *to)
{
	struct torc_address target, from;
	struct datagram *receiver;
	int r = autobind(s);

	if (r < 0)
		return r;
	if (!to && !s->connected)
		return -EDESTADDRREQ;
	r = read_target(s, to ? to : &s->peer, &target);
	if (r == 0 && !*port_of(&target))
		r = -EINVAL;
	if (r == 0)
		r = choose_source(s, &target, &from);
	if (r == 0 && len > UDP_MOST)
		r = -EMSGSIZE;
	if (r == 0)
		r = take_error(s);
	if (r < 0)
		return r;
	receiver = find_udp(&target, &from);
	if (receiver)
		transmit(s, receiver, &from, buf, len);
	else if (s->connected && accepts(s, &target)) /* else it is not told: udp(7), IP_RECVERR */
		set_error(s, -ECONNREFUSED);
	return (ssize_t)len;
}

static void disconnect_udp(struct datagram *s)
{
	struct torc_address any = any_address(s->domain);

	s->connected = false;
	if (s->address_chosen) {
		*port_of(&any) = *port_of(&s->local);
		set_local(s, &any);
	}
	if (s->port_chosen) {
		torc__sim_name_release(&s->file);
		*port_of(&s->local) = 0;
		s->bound = false;
	}
	s->port_chosen = s->address_chosen = false;
}

static int connect_udp(struct datagram *s, const struct torc_address *address)
{
	struct torc_address target, from;
	int r;

	if (address->any.sa_family == AF_UNSPEC) {
		disconnect_udp(s);
		return 0;
	}
	r = autobind(s);
	if (r == 0)
		r = read_target(s, address, &target);
	if (r == 0)
		r = choose_source(s, &target, &from);
	if (r < 0)
		return r;
	s->address_chosen |= is_any(&s->local);
	from = in_domain(s->domain, &from);
	set_local(s, &from);
	s->peer = in_domain(s->domain, &target);
	s->connected = true;
	return 0;
}

/* --- Unix --- */

static int find_unix(const struct torc_address *address, struct datagram **ret)
{
	struct torc__sim_name *name;

	if (address->any.sa_family != AF_UNIX)
		return -EINVAL;
	name = torc__sim_name_find(address, SOCK_DGRAM);
	if (name && name->file) {
		*ret = datagram_of(name->file);
		return 0;
	}
	if (name || !address->un.sun_path[0])
		return -ECONNREFUSED;
	return torc__sim_name_find(address, SOCK_STREAM) ? -EPROTOTYPE : -ENOENT;
}

/* A connected socket receives from its peer only, also when that is gone. */
static bool may_send(const struct datagram *s, const struct datagram *receiver)
{
	return !receiver->connected || receiver->other == s;
}

static bool is_full(const struct datagram *s, const struct datagram *receiver)
{
	if (s->sent_bytes >= BUFFER_BYTES)
		return true;
	if (!receiver || receiver == s || receiver->other == s)
		return false;
	return receiver->queued > UNIX_QUEUE;
}

/* Its peer is another one, or none. What has come is lost; then the peer learns that its way back is gone. */
static void part(struct datagram *s, struct datagram *other)
{
	if (!s->first)
		return;
	dequeue_all(s);
	if (other && other->other == s)
		set_error(other, -ECONNRESET);
}

static int find_peer(struct datagram *s, struct datagram **ret)
{
	*ret = s->other;
	if (s->other)
		return 0;
	if (!s->connected)
		return -ENOTCONN;
	s->connected = false;
	part(s, NULL);
	return -ECONNREFUSED;
}

static int find_receiver(struct datagram *s, const struct torc_address *to, struct datagram **ret)
{
	int r = to ? find_unix(to, ret) : find_peer(s, ret);

	return r == 0 && !may_send(s, *ret) ? -EPERM : r;
}

static ssize_t send_unix(struct datagram *s, const void *buf, size_t len,
			 const struct torc_address *to)
{
	struct datagram *receiver = NULL;
	struct message *m;
	int r;

	if (len > UNIX_MOST)
		return -EMSGSIZE;
	r = take_error(s);
	if (r == 0 && !is_full(s, NULL))
		r = find_receiver(s, to, &receiver);
	if (r < 0)
		return r;
	if (is_full(s, receiver)) {
		s->blocked = true;
		return TORC__SIM_WAIT;
	}
	m = new_message(receiver, buf, len);
	m->sender = s;
	s->sent_bytes += MESSAGE_BYTES + len;
	enqueue(m);
	return (ssize_t)len;
}

static int connect_unix(struct datagram *s, const struct torc_address *address)
{
	struct datagram *before = s->other, *other = NULL;
	bool connected = s->connected;
	int r = 0;

	if (address->any.sa_family != AF_UNSPEC) {
		r = find_unix(address, &other);
		if (r == 0 && !may_send(s, other))
			r = -EPERM;
	}
	if (r < 0)
		return r;
	s->other = other;
	s->connected = other != NULL;
	if (connected && (!before || before != other))
		part(s, before);
	wake_blocked(); /* where it sends to now there may be room */
	return 0;
}

static bool can_write_unix(struct datagram *s)
{
	if (s->sent_bytes * 4 <= BUFFER_BYTES && !is_full(s, s->other))
		return true;
	s->blocked = true;
	return false;
}

/* As it is now: who was not bound when he sent it may be meanwhile. */
static struct torc_address source_of(const struct message *m)
{
	if (!m->sender)
		return m->from;
	return m->sender->bound ? m->sender->local : (struct torc_address){ .len = 0 };
}

/* A socket is gone: nobody's peer, nobody's sender. */
static void forget_unix(const struct datagram *gone)
{
	for (struct datagram *s = sockets; s; s = s->next) {
		if (s->other == gone) {
			s->peer = gone->local;
			s->other = NULL;
		}
		for (struct message *m = s->first; m; m = m->next) {
			if (m->sender == gone) {
				m->from = source_of(m);
				m->sender = NULL;
			}
		}
	}
}

/* --- the file --- */

static ssize_t read_datagram(struct torc__sim_file *file, void *buf, size_t len, uint64_t offset,
			     int flags)
{
	(void)offset;
	return torc__sim_datagram_recv(file, buf, len, flags, NULL, NULL);
}

static ssize_t write_datagram(struct torc__sim_file *file, const void *buf, size_t len,
			      uint64_t offset, int flags)
{
	(void)offset;
	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	return torc__sim_datagram_send(file, buf, len, NULL);
}

static unsigned poll_datagram(struct torc__sim_file *file)
{
	struct datagram *s = datagram_of(file);
	unsigned events = s->error ? POLLERR : 0;

	if (s->first)
		events |= POLLIN | POLLRDNORM;
	if (s->domain != AF_UNIX || can_write_unix(s))
		events |= POLLOUT | POLLWRNORM | POLLWRBAND;
	return events;
}

static void forget_coming(struct datagram *s)
{
	while (s->coming) {
		struct message *m = s->coming;

		torc__sim_forget(&m->event);
		unlist_message(m);
		free(m);
	}
}

static void destroy_datagram(struct torc__sim_file *file)
{
	struct datagram *s = datagram_of(file);

	*s->link = s->next;
	if (s->next)
		s->next->link = s->link;
	if (s->bound)
		torc__sim_name_release(file);
	forget_coming(s);
	forget_unix(s);
	dequeue_all(s);
	free(s);
}

static const struct torc__sim_file_kind datagram_kind = {
	.name = "datagram socket",
	.whole_read = SIZE_MAX,
	.whole_write = SIZE_MAX,
	.is_socket = true,
	.read = read_datagram,
	.write = write_datagram,
	.destroy = destroy_datagram,
	.poll = poll_datagram,
};

bool torc__sim_is_datagram(const struct torc__sim_file *file)
{
	return file->kind == &datagram_kind;
}

/* --- calls --- */

static struct datagram *new_datagram(int domain, int flags)
{
	struct datagram *s = torc__sim_alloc(sizeof(*s));

	torc__sim_file_init(&s->file, &datagram_kind, O_RDWR | (flags & O_NONBLOCK));
	s->domain = domain;
	s->local = any_address(domain);
	s->tail = &s->first;
	s->next = sockets;
	s->link = &sockets;
	if (s->next)
		s->next->link = &s->next;
	sockets = s;
	return s;
}

int torc__sim_datagram_new(int domain, int type)
{
	if (domain != AF_INET && domain != AF_INET6 && domain != AF_UNIX)
		return -EAFNOSUPPORT;
	return torc__sim_fd_open(&new_datagram(domain, type)->file);
}

int torc__sim_datagram_pair(int domain, int ret_fds[2], int flags)
{
	struct datagram *s[2];
	int fds[2];

	if (domain != AF_UNIX)
		return -EOPNOTSUPP;
	for (int i = 0; i < 2; i++) {
		s[i] = new_datagram(domain, flags);
		fds[i] = torc__sim_fd_open(&s[i]->file);
		if (fds[i] < 0) {
			if (i)
				torc__sim_fd_close(fds[0]);
			return fds[i];
		}
	}
	s[0]->other = s[1];
	s[1]->other = s[0];
	s[0]->connected = s[1]->connected = true;
	memcpy(ret_fds, fds, sizeof(fds));
	return 0;
}

int torc__sim_datagram_bind(struct torc__sim_file *file, const struct torc_address *address)
{
	struct datagram *s = datagram_of(file);
	struct torc_address asked = *address, local = asked;
	int r;

	if (local.any.sa_family != s->domain)
		return s->domain == AF_INET ? -EAFNOSUPPORT : -EINVAL;
	if (s->bound)
		return s->domain == AF_UNIX && torc__sim_name_is_taken(&local) ? -EADDRINUSE
									       : -EINVAL;
	r = torc__sim_name_bind(&local, SOCK_DGRAM, 0, file);
	if (r < 0)
		return r;
	s->port_chosen = s->domain != AF_UNIX && !*port_of(&asked);
	s->local = local;
	s->bound = true;
	return 0;
}

int torc__sim_datagram_connect(struct torc__sim_file *file, const struct torc_address *address)
{
	struct datagram *s = datagram_of(file);

	return s->domain == AF_UNIX ? connect_unix(s, address) : connect_udp(s, address);
}

int torc__sim_datagram_name(struct torc__sim_file *file, bool local, struct torc_address *ret)
{
	const struct datagram *s = datagram_of(file);

	if (!local && !s->connected)
		return -ENOTCONN;
	*ret = local ? s->local : s->other ? s->other->local : s->peer;
	return 0;
}

int torc__sim_datagram_getsockopt(struct torc__sim_file *file, int level, int name, void *ret,
				  socklen_t *len)
{
	int value;

	if (level != SOL_SOCKET || *len < sizeof(value))
		return -ENOPROTOOPT;
	switch (name) {
	case SO_ERROR: value = -take_error(datagram_of(file)); break;
	case SO_TYPE: value = SOCK_DGRAM; break;
	case SO_ACCEPTCONN: value = 0; break;
	default: return -ENOPROTOOPT;
	}
	memcpy(ret, &value, sizeof(value));
	*len = sizeof(value);
	return 0;
}

ssize_t torc__sim_datagram_send(struct torc__sim_file *file, const void *buf, size_t len,
				const struct torc_address *to)
{
	struct datagram *s = datagram_of(file);

	return s->domain == AF_UNIX ? send_unix(s, buf, len, to) : send_udp(s, buf, len, to);
}

static ssize_t copy_out(const struct message *m, void *buf, size_t len, int flags,
			struct torc_address *ret_from, bool *ret_truncated)
{
	size_t n = m->len < len ? m->len : len;

	if (n)
		memcpy(buf, m->data, n);
	if (ret_from)
		*ret_from = source_of(m);
	if (ret_truncated)
		*ret_truncated = n < m->len;
	return (ssize_t)(flags & MSG_TRUNC ? m->len : n);
}

ssize_t torc__sim_datagram_recv(struct torc__sim_file *file, void *buf, size_t len, int flags,
				struct torc_address *ret_from, bool *ret_truncated)
{
	struct datagram *s = datagram_of(file);
	ssize_t n;
	int r;

	if (flags & MSG_ERRQUEUE) /* there is none */
		return -EAGAIN;
	if (flags & MSG_OOB && s->domain == AF_UNIX)
		return -EOPNOTSUPP;
	r = take_error(s);
	if (r < 0)
		return r;
	if (!s->first)
		return TORC__SIM_WAIT;
	n = copy_out(s->first, buf, len, flags, ret_from, ret_truncated);
	if (!(flags & MSG_PEEK)) {
		dequeue(s);
		wake_blocked();
	}
	return n;
}
