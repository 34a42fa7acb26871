/*
 * core/sim/stream.c - stream sockets: TCP's and Unix's.
 *
 * What one end sends travels as segments to the other, in order, and arrives after a while: data, then the end
 * (FIN), or a reset (RST). What has been sent and not been read yet, on its way or in the queue, is limited: the
 * sender waits. Over a Unix socket everything arrives at once, and the ends stay CONNECTED: the peer's shutdown(2) and
 * close(2) are seen in rx_end and tx_shut alone.
 *
 *	          connect               handshake                      reset, by either side
 *	FRESH ------------> CONNECTING -----------> CONNECTED ------------------------------> BROKEN
 *	  |                      | refused
 *	  | listen               +----> FRESH
 *	  +--------> LISTENING
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "core/sim/sim.h"

#define WINDOW       65536u
#define TRAVEL_NS    20000
#define HANDSHAKE_NS 50000

/* A listener whose queue is full lets a peer try again. */
#define RETRY_NS TORC_SECONDS(1)
#define TRIES    6

enum state { FRESH, LISTENING, CONNECTING, CONNECTED, BROKEN };

enum what { DATA, FIN, RST };

struct stream;

struct segment {
	struct torc__sim_event event; /* its arrival */
	struct segment *next;
	struct stream *to;
	enum what what;
	size_t len;
	char data[];
};

struct stream {
	struct torc__sim_file file; /* first */
	enum state state;
	int domain;
	struct torc_address local, remote;
	bool linger_zero;
	unsigned reuse; /* enum torc__sim_reuse */
	bool bound;
	bool orphaned; /* its listener has gone before it was accepted */

	struct stream *peer; /* NULL: gone, or never there */
	struct torc__sim_bytes rx;
	struct segment *coming, **coming_tail; /* on their way to here */
	size_t coming_len;
	uint64_t arrival_ns; /* of the last one of them */
	size_t window;       /* what may be sent to here and not be read */
	bool rx_end;         /* a FIN has arrived, or Unix: the peer does not send any more */
	bool rx_shut, tx_shut;
	bool refused; /* the last connect, and these two are of that */
	int error;    /* to be told once */

	struct torc__sim_event handshake;
	unsigned tries;
	struct stream *queue, **queue_tail, *next_queued; /* a listener's */
	size_t queued, backlog;
	struct stream *listener; /* whose queue it is in */
};

static const struct torc__sim_file_kind stream_kind;

static struct stream *of(struct torc__sim_file *file)
{
	return (struct stream *)(void *)file;
}

bool torc__sim_is_stream(const struct torc__sim_file *file)
{
	return file->kind == &stream_kind;
}

static struct stream *create(int domain, int flags)
{
	struct stream *s = torc__sim_alloc(sizeof(*s));

	torc__sim_file_init(&s->file, &stream_kind, O_RDWR | (flags & SOCK_NONBLOCK));
	s->domain = domain;
	s->local.any.sa_family = s->remote.any.sa_family = (sa_family_t)domain;
	s->local.len = domain == AF_INET    ? sizeof(struct sockaddr_in)
		       : domain == AF_INET6 ? sizeof(struct sockaddr_in6)
					    : sizeof(sa_family_t);
	s->remote.len = s->local.len;
	s->coming_tail = &s->coming;
	s->queue_tail = &s->queue;
	/* Small windows show what is done about a slow peer. */
	s->window = torc__sim_chaos(TORC_SIM_SHORT)
			    ? 256 + (size_t)torc__sim_draw(TORC_SIM_SHORT, 8192)
			    : WINDOW;
	return s;
}

static bool is_tcp(const struct stream *s)
{
	return s->domain != AF_UNIX;
}

/* Both ends have said goodbye, or it was reset: TCP_CLOSE, and nothing comes of it any more. */
static bool is_over(const struct stream *s)
{
	return is_tcp(s) && (s->state == BROKEN || (s->rx_end && s->tx_shut));
}

/* --- what travels --- */

static void break_end(struct stream *s, int error)
{
	s->state = BROKEN;
	s->error = error;
	torc__sim_changed(&s->file);
}

static void send_segment(struct stream *to, enum what what, const void *data, size_t len);

/* Who wants to hear no more, and has said so to the peer by a FIN, answers by a reset. */
static void receive(struct stream *s, const char *data, size_t len)
{
	if (!is_tcp(s) || !s->rx_shut || !s->tx_shut) {
		torc__sim_bytes_put(&s->rx, data, len);
		return;
	}
	if (s->peer)
		send_segment(s->peer, RST, NULL, 0);
	break_end(s, ECONNRESET);
}

static void arrive(struct stream *s, const struct segment *seg)
{
	if (s->state == BROKEN)
		return;
	switch (seg->what) {
	case DATA: receive(s, seg->data, seg->len); break;
	case FIN: s->rx_end = true; break;
	case RST:
		if (s->state == CONNECTED && !is_over(s))
			break_end(s, s->rx_end ? EPIPE : ECONNRESET);
		break;
	}
	torc__sim_changed(&s->file);
}

static void run_arrival(struct torc__sim_event *event)
{
	struct segment *seg = torc__container_of(event, struct segment, event);
	struct stream *s = seg->to;

	/* They arrive in order: it is the first. */
	s->coming = seg->next;
	if (!s->coming)
		s->coming_tail = &s->coming;
	s->coming_len -= seg->len;
	arrive(s, seg);
	free(seg);
}

static void send_segment(struct stream *to, enum what what, const void *data, size_t len)
{
	struct segment *seg = torc__sim_alloc(sizeof(*seg) + len);
	uint64_t at;

	seg->to = to;
	seg->what = what;
	seg->len = len;
	if (len)
		memcpy(seg->data, data, len);
	if (!is_tcp(to)) {
		arrive(to, seg);
		free(seg);
		return;
	}
	/* No two at the same time: what is at the same time may change its order. */
	at = torc__sim->now_ns + torc__sim_latency(TRAVEL_NS);
	if (at <= to->arrival_ns)
		at = to->arrival_ns + 1;
	to->arrival_ns = at;
	*to->coming_tail = seg;
	to->coming_tail = &seg->next;
	to->coming_len += len;
	torc__sim_at(&seg->event, at, run_arrival);
}

static void drop_coming(struct stream *s)
{
	struct segment *seg, *next;

	for (seg = s->coming; seg; seg = next) {
		next = seg->next;
		torc__sim_forget(&seg->event);
		free(seg);
	}
	s->coming = NULL;
	s->coming_tail = &s->coming;
}

void torc__sim_stream_break(struct torc__sim_file *file)
{
	struct stream *s = of(file);

	if (s->state != CONNECTED || !is_tcp(s) || is_over(s))
		return;
	torc__sim_note("break", 0, 0, 0);
	if (s->peer) {
		send_segment(s->peer, RST, NULL, 0);
		s->peer->peer = NULL;
		s->peer = NULL;
	}
	break_end(s, s->rx_end ? EPIPE : ECONNRESET);
}

/* --- read and write --- */

static int take_error(struct stream *s)
{
	int error = s->error;

	s->error = 0;
	return -error;
}

static ssize_t nothing_to_read(struct stream *s)
{
	if (s->rx_end && is_tcp(s))
		return 0;
	if (s->error)
		return take_error(s);
	if (s->rx_end || s->rx_shut || s->state == BROKEN)
		return 0;
	if (s->state == CONNECTED || s->state == CONNECTING)
		return TORC__SIM_WAIT;
	return -ENOTCONN;
}

/* Of 0 bytes too it waits for some to be there. */
static ssize_t stream_read(struct torc__sim_file *file, void *buf, size_t len, uint64_t offset,
			   int flags)
{
	struct stream *s = of(file);
	size_t n;

	(void)offset;
	if (s->state != CONNECTED && !is_tcp(s))
		return -EINVAL;
	if (!s->rx.len)
		return nothing_to_read(s);
	n = torc__sim_bytes_take(&s->rx, buf, len, flags & MSG_PEEK);
	/* Unix looks for more then, and loses an error that it finds instead. */
	if (!is_tcp(s) && flags & MSG_WAITALL && n < len)
		s->error = 0;
	if (s->peer)
		torc__sim_changed(&s->peer->file); /* there is room again */
	return (ssize_t)n;
}

static void send_pieces(struct stream *to, const char *p, size_t len)
{
	while (len) {
		size_t part = torc__sim_cut(len);

		send_segment(to, DATA, p, part);
		p += part;
		len -= part;
	}
}

/* What forbids to send, or 0. */
static int refuse_write(struct stream *s)
{
	if (!is_tcp(s) && s->state != CONNECTED)
		return -ENOTCONN;
	if (!is_tcp(s) && s->tx_shut)
		return -EPIPE; /* and the error is for others */
	if (s->error)
		return take_error(s);
	return s->tx_shut || s->state != CONNECTED ? -EPIPE : 0;
}

static ssize_t stream_write(struct torc__sim_file *file, const void *buf, size_t len,
			    uint64_t offset, int flags)
{
	struct stream *s = of(file);
	size_t used;
	int r;

	(void)offset, (void)flags;
	if (s->state == CONNECTING && is_tcp(s))
		return TORC__SIM_WAIT;
	r = refuse_write(s);
	if (r < 0 || !len)
		return r;
	if (!s->peer) { /* its end is gone: the answer is a reset */
		send_segment(s, RST, NULL, 0);
		return (ssize_t)len;
	}
	used = s->peer->rx.len + s->peer->coming_len;
	if (used >= s->peer->window)
		return TORC__SIM_WAIT;
	if (len > s->peer->window - used)
		len = s->peer->window - used;
	send_pieces(s->peer, buf, len);
	return (ssize_t)len;
}

static void drop_queue(struct stream *s);

static int shutdown_unix(struct stream *s, int how)
{
	if (how != SHUT_RD)
		s->tx_shut = true;
	if (how != SHUT_WR)
		s->rx_shut = true;
	if (s->peer) {
		s->peer->rx_end |= how != SHUT_RD;
		s->peer->tx_shut |= how != SHUT_WR;
		torc__sim_changed(&s->peer->file);
	}
	return 0;
}

static int stop_listening(struct stream *s)
{
	drop_queue(s);
	torc__sim_name_deafen(&s->file);
	s->state = FRESH;
	return 0;
}

static int shutdown_tcp(struct stream *s, int how)
{
	int r = s->state == CONNECTED && !is_over(s) ? 0 : -ENOTCONN;

	if (s->state == LISTENING)
		return how == SHUT_WR ? 0 : stop_listening(s);
	if (how != SHUT_RD && !s->tx_shut) {
		s->tx_shut = true;
		if (s->peer && s->state == CONNECTED)
			send_segment(s->peer, FIN, NULL, 0);
	}
	if (how != SHUT_WR)
		s->rx_shut = true;
	return r;
}

int torc__sim_stream_shutdown(struct torc__sim_file *file, int how)
{
	struct stream *s = of(file);
	int r;

	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	r = is_tcp(s) ? shutdown_tcp(s, how) : shutdown_unix(s, how);
	torc__sim_changed(file);
	return r;
}

static bool has_room(const struct stream *s)
{
	return !s->peer || s->peer->rx.len + s->peer->coming_len < s->peer->window;
}

/* As of net/ipv4/tcp.c, tcp_poll, and net/unix/af_unix.c, unix_poll. */
static unsigned events_of(const struct stream *s, bool no_rx, bool no_tx)
{
	unsigned events = 0;

	if (no_rx)
		events |= POLLIN | POLLRDNORM | POLLRDHUP;
	if (s->rx.len || s->queue)
		events |= POLLIN | POLLRDNORM;
	if ((no_rx && no_tx) || s->state == FRESH || s->state == BROKEN)
		events |= POLLHUP;
	if (s->state == LISTENING || (s->state == CONNECTING && is_tcp(s)))
		return events;
	if ((no_tx && is_tcp(s)) || has_room(s))
		events |= POLLOUT | POLLWRNORM | (is_tcp(s) ? 0 : POLLWRBAND);
	return events;
}

static unsigned stream_poll(struct torc__sim_file *file)
{
	const struct stream *s = of(file);
	bool no_rx = s->rx_end || s->rx_shut || s->state == BROKEN;
	bool no_tx = s->tx_shut || s->state == BROKEN;
	unsigned events = s->error ? POLLERR : 0;

	if (s->state == LISTENING && is_tcp(s))
		no_rx = no_tx = false;
	return events | events_of(s, no_rx, no_tx);
}

/* --- the end --- */

static void leave_queue(struct stream *s)
{
	struct stream **link = &s->listener->queue;

	while (*link != s)
		link = &(*link)->next_queued;
	*link = s->next_queued;
	if (!*link)
		s->listener->queue_tail = link;
	s->listener->queued--;
	s->listener = NULL;
}

static void part_unix(struct stream *s, struct stream *peer)
{
	peer->rx_end = peer->tx_shut = true;
	if (s->rx.len || s->orphaned)
		peer->error = ECONNRESET;
}

static void part_tcp(struct stream *s, struct stream *peer)
{
	if (is_over(s))
		return;
	if (s->linger_zero || s->orphaned || s->rx.len) {
		send_segment(peer, RST, NULL, 0);
		return;
	}
	if (!s->tx_shut)
		send_segment(peer, FIN, NULL, 0);
	/* What arrives when nobody is there is answered by a reset. */
	if (s->coming_len)
		send_segment(peer, RST, NULL, 0);
}

static void say_goodbye(struct stream *s)
{
	struct stream *peer = s->peer;

	if (!peer)
		return;
	peer->peer = NULL;
	s->peer = NULL;
	if (is_tcp(s))
		part_tcp(s, peer);
	else
		part_unix(s, peer);
	torc__sim_changed(&peer->file);
}

static void drop_queue(struct stream *s)
{
	while (s->queue) {
		struct stream *pending = s->queue;

		leave_queue(pending);
		pending->orphaned = true;
		torc__sim_file_drop(&pending->file);
	}
}

static void stream_destroy(struct torc__sim_file *file)
{
	struct stream *s = of(file);

	torc__sim_forget(&s->handshake);
	torc__sim_name_release(file);
	drop_queue(s);
	if (s->state == CONNECTED)
		say_goodbye(s);
	if (s->peer)
		s->peer->peer = NULL;
	drop_coming(s);
	torc__sim_bytes_done(&s->rx);
	free(s);
}

static const struct torc__sim_file_kind stream_kind = {
	.name = "stream socket",
	.is_socket = true,
	.read = stream_read,
	.write = stream_write,
	.destroy = stream_destroy,
	.poll = stream_poll,
};

/* --- connections --- */

static void join(struct stream *a, struct stream *b)
{
	a->peer = b;
	b->peer = a;
	a->state = b->state = CONNECTED;
}

int torc__sim_stream_new(int domain, int type)
{
	return torc__sim_fd_open(&create(domain, type)->file);
}

int torc__sim_stream_pair(int domain, int ret_fds[2], int flags)
{
	struct stream *a = create(domain, flags), *b = create(domain, flags);

	join(a, b);
	ret_fds[0] = torc__sim_fd_open(&a->file);
	ret_fds[1] = torc__sim_fd_open(&b->file);
	if (ret_fds[0] >= 0 && ret_fds[1] >= 0)
		return 0;
	for (int i = 0; i < 2; i++)
		if (ret_fds[i] >= 0)
			torc__sim_fd_close(ret_fds[i]);
	return -EMFILE;
}

static int check_bind(const struct stream *s, const struct torc_address *address)
{
	if (address->any.sa_family != s->domain)
		return s->domain == AF_INET ? -EAFNOSUPPORT : -EINVAL;
	if (s->state == FRESH && !s->bound)
		return 0;
	return !is_tcp(s) && torc__sim_name_is_taken(address) ? -EADDRINUSE : -EINVAL;
}

static int bind_to(struct stream *s, const struct torc_address *address)
{
	struct torc_address local = *address;
	int r = torc__sim_name_bind(&local, SOCK_STREAM, s->reuse, &s->file);

	if (r < 0)
		return r;
	s->local = local;
	s->bound = true;
	return 0;
}

int torc__sim_stream_bind(struct torc__sim_file *file, const struct torc_address *address)
{
	struct stream *s = of(file);
	int r = check_bind(s, address);

	return r < 0 ? r : bind_to(s, address);
}

int torc__sim_stream_listen(struct torc__sim_file *file, int backlog)
{
	struct stream *s = of(file);
	int r = 0;

	if (s->state != FRESH && s->state != LISTENING)
		return -EINVAL;
	if (!s->bound)
		r = is_tcp(s) ? bind_to(s, &s->local) : -EINVAL;
	if (r == 0)
		r = torc__sim_name_listen(file);
	if (r < 0)
		return r;
	s->state = LISTENING;
	s->backlog = backlog < 0 || backlog > 4096 ? 4096 : (size_t)backlog;
	return 0;
}

static struct stream *listener_at(const struct torc_address *address)
{
	const struct torc__sim_name *name = torc__sim_name_find(address, SOCK_STREAM);

	if (!name || !name->file || of(name->file)->state != LISTENING)
		return NULL;
	return of(name->file)->rx_shut ? NULL : of(name->file);
}

static bool is_full(const struct stream *listener)
{
	return listener->queued > listener->backlog;
}

static void enqueue(struct stream *listener, struct stream *client)
{
	struct stream *server = create(client->domain, 0);

	server->local = client->remote;
	server->remote = client->local;
	server->listener = listener;
	*listener->queue_tail = server;
	listener->queue_tail = &server->next_queued;
	listener->queued++;
	join(server, client);
	torc__sim_changed(&listener->file);
	torc__sim_changed(&client->file);
}

/* It can be tried again. Until then it is as if it had been connected. */
static void refuse(struct stream *s, int error)
{
	s->state = FRESH;
	if (is_tcp(s))
		s->refused = s->rx_shut = s->tx_shut = true;
	s->error = error;
	torc__sim_changed(&s->file);
}

static void run_handshake(struct torc__sim_event *event)
{
	struct stream *s = torc__container_of(event, struct stream, handshake);
	struct stream *listener = listener_at(&s->remote);

	if (!listener)
		refuse(s, ECONNREFUSED);
	else if (!is_full(listener))
		enqueue(listener, s);
	else if (is_tcp(s) && ++s->tries == TRIES)
		refuse(s, ETIMEDOUT);
	else
		torc__sim_at(event, torc__sim->now_ns + (is_tcp(s) ? RETRY_NS : HANDSHAKE_NS),
			     run_handshake);
}

static int begin_tcp(struct stream *s, const struct torc_address *address)
{
	struct torc_address local = *address;
	int r = 0;

	if (address->any.sa_family != s->domain)
		return -EAFNOSUPPORT;
	local.v4.sin_port = 0;
	if (!s->bound)
		r = bind_to(s, &local);
	if (r < 0)
		return r;
	s->remote = *address;
	if (s->refused)
		s->refused = s->rx_shut = s->tx_shut = false;
	s->tries = 0;
	s->state = CONNECTING;
	torc__sim_at(&s->handshake, torc__sim->now_ns + torc__sim_latency(HANDSHAKE_NS),
		     run_handshake);
	return TORC__SIM_WAIT;
}

static int connect_tcp(struct stream *s, const struct torc_address *address, bool again)
{
	switch (s->state) {
	case CONNECTING: return again ? TORC__SIM_WAIT : -EALREADY;
	case CONNECTED: return again ? 0 : -EISCONN;
	case LISTENING: return -EISCONN;
	case BROKEN: return again ? take_error(s) : -EISCONN;
	default: break;
	}
	return s->error ? take_error(s) : begin_tcp(s, address);
}

/* It looks for the listener before it looks at the socket. */
static int begin_unix(struct stream *s, const struct torc_address *address)
{
	int r;

	if (address->any.sa_family != AF_UNIX || address->len <= sizeof(sa_family_t))
		return -EINVAL;
	r = torc__sim_stream_probe(address);
	if (r < 0)
		return r;
	if (is_full(listener_at(address)) && s->file.flags & O_NONBLOCK)
		return -EAGAIN;
	if (s->state != FRESH)
		return s->state == CONNECTED ? -EISCONN : -EINVAL;
	s->remote = *address;
	s->state = CONNECTING;
	run_handshake(&s->handshake);
	return s->state == CONNECTED ? 0 : TORC__SIM_WAIT;
}

static int connect_unix(struct stream *s, const struct torc_address *address, bool again)
{
	if (again && s->state == CONNECTING)
		return TORC__SIM_WAIT;
	if (again && s->state == CONNECTED)
		return 0;
	return again && s->error ? take_error(s) : begin_unix(s, address);
}

int torc__sim_stream_connect(struct torc__sim_file *file, const struct torc_address *address,
			     bool again)
{
	struct stream *s = of(file);

	return is_tcp(s) ? connect_tcp(s, address, again) : connect_unix(s, address, again);
}

int torc__sim_stream_accept(struct torc__sim_file *file, struct sockaddr *ret_peer, socklen_t *len,
			    int flags)
{
	struct stream *s = of(file), *taken = s->queue;

	if (s->state != LISTENING)
		return -EINVAL;
	if (!taken)
		return s->rx_shut && !is_tcp(s) ? -EINVAL : TORC__SIM_WAIT;
	leave_queue(taken);
	taken->file.flags |= flags & SOCK_NONBLOCK;
	torc__sim_address_write(&taken->remote, ret_peer, len);
	return torc__sim_fd_open(&taken->file);
}

int torc__sim_stream_probe(const struct torc_address *address)
{
	if (listener_at(address))
		return 0;
	if (torc__sim_name_find(address, SOCK_STREAM) || torc__sim_is_abstract(address))
		return -ECONNREFUSED;
	return torc__sim_name_find(address, SOCK_DGRAM) ? -EPROTOTYPE : -ENOENT;
}

/* --- options --- */

static bool is_known(int level, int name)
{
	if (level == SOL_SOCKET)
		return name == SO_REUSEADDR || name == SO_KEEPALIVE || name == SO_SNDBUF ||
		       name == SO_RCVBUF || name == SO_REUSEPORT || name == SO_LINGER;
	if (level == IPPROTO_IPV6)
		return name == IPV6_V6ONLY;
	return level == IPPROTO_TCP;
}

static void set_reuse(struct stream *s, unsigned what, int value)
{
	s->reuse = value ? s->reuse | what : s->reuse & ~what;
}

int torc__sim_stream_setsockopt(struct torc__sim_file *file, int level, int name, const void *value,
				socklen_t len)
{
	struct stream *s = of(file);

	if (!is_known(level, name))
		return -ENOPROTOOPT;
	if (level == IPPROTO_TCP && !is_tcp(s))
		return -EOPNOTSUPP;
	if (level == SOL_SOCKET && name == SO_REUSEPORT && len >= sizeof(int))
		set_reuse(s, TORC__SIM_REUSE_PORT, *(const int *)value);
	if (level == SOL_SOCKET && name == SO_REUSEADDR && len >= sizeof(int))
		set_reuse(s, TORC__SIM_REUSE_ADDRESS, *(const int *)value);
	if (level == SOL_SOCKET && name == SO_LINGER && len >= sizeof(struct linger)) {
		const struct linger *linger = value;

		s->linger_zero = linger->l_onoff && !linger->l_linger;
	}
	return 0;
}

int torc__sim_stream_getsockopt(struct torc__sim_file *file, int level, int name, void *ret,
				socklen_t *len)
{
	struct stream *s = of(file);
	int value;

	if (level != SOL_SOCKET || *len < sizeof(value))
		return -ENOPROTOOPT;
	switch (name) {
	case SO_ERROR: value = -take_error(s); break;
	case SO_TYPE: value = SOCK_STREAM; break;
	case SO_ACCEPTCONN: value = s->state == LISTENING; break;
	default: return -ENOPROTOOPT;
	}
	memcpy(ret, &value, sizeof(value));
	*len = sizeof(value);
	return 0;
}

int torc__sim_stream_name(struct torc__sim_file *file, bool local, struct torc_address *ret)
{
	struct stream *s = of(file);

	if (!local && (s->state != CONNECTED || is_over(s)))
		return -ENOTCONN;
	*ret = local ? s->local : s->remote;
	return 0;
}
