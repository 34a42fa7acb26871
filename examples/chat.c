/*
 * chat - a room: the first line of a client is its name, every later one goes to all others. A client that does not keep up is
 * dropped, and nobody waits for it. ^C says goodbye to all.
 *
 *	build/examples/chat tcp://127.0.0.1:7001	and then: nc 127.0.0.1 7001
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <torc/torc.h>

#define NAME_MOST    24
#define LINE_MOST    512
#define WAITING_MOST 64 /* messages that a client may be behind, beside what is in its stream */
#define MESSAGE_MOST (NAME_MOST + LINE_MOST + 8)

/* On the stack of its connection's fiber, which reads; another one writes. */
struct client {
	struct client *next;
	struct torc_stream *stream;
	struct torc_chan out;
	struct torc_group group;
	bool too_slow;
	char name[NAME_MOST + 1];
};

/* One loop has them all, so that no lock is needed. */
static struct client *room;

/* Never suspends, so that the room stays as it is meanwhile. */
static void tell_others(const struct client *from, const char *format, const char *text)
{
	char message[MESSAGE_MOST];

	snprintf(message, sizeof(message), format, from->name, text);
	for (struct client *c = room; c; c = c->next)
		if (c != from && torc_chan_try_send(&c->out, message) == -EAGAIN) {
			c->too_slow = true;
			torc_group_cancel(&c->group); /* its reads and writes */
		}
}

static int write_all(void *arg)
{
	struct client *c = arg;
	char message[MESSAGE_MOST];
	int r;

	while ((r = torc_chan_recv(&c->out, message)) > 0)
		if ((r = torc_stream_write(c->stream, message, strlen(message))) < 0)
			return r;
	return r;
}

/* A line without what would play with the terminals of others. 1, or 0 at the end, or an error. */
static int read_line(struct client *c, size_t most, char *ret_line)
{
	struct torc_slice view;
	int r = torc_stream_read_line(c->stream, most, &view);

	if (r <= 0)
		return r;
	for (size_t i = 0; i < view.len; i++)
		ret_line[i] = (char)(iscntrl((unsigned char)view.data[i]) ? '?' : view.data[i]);
	ret_line[view.len] = '\0';
	return 1;
}

static void leave(struct client *c)
{
	struct client **link = &room;

	while (*link != c)
		link = &(*link)->next;
	*link = c->next;
	tell_others(c, c->too_slow ? "* %s was too slow%s\n" : "* %s has left%s\n", "");
}

/* What waits for it is still written, unless it is too slow: after -ETIMEDOUT nothing is waited for. */
static int take_part(struct client *c)
{
	static const char goodbye[MESSAGE_MOST] = "* goodbye\n";
	char line[LINE_MOST + 1];
	int ended, r;

	torc_group_enter(&c->group);
	c->next = room;
	room = c;
	tell_others(c, "* %s is here%s\n", "");
	r = torc_group_spawn(&c->group, write_all, c);
	while (r >= 0 && (r = read_line(c, LINE_MOST, line)) > 0)
		tell_others(c, "%s: %s\n", line);
	leave(c);
	if (r == -ECANCELED && torc_chan_try_send(&c->out, goodbye) == -EAGAIN)
		c->too_slow = true;
	torc_chan_close(&c->out);
	ended = torc_group_wait(&c->group);
	return c->too_slow ? -ETIMEDOUT : r < 0 ? r : ended;
}

static int serve(struct torc_stream *s, void *arg)
{
	struct client c = { .stream = s };
	int r = read_line(&c, NAME_MOST, c.name);
	const struct client *other = room;

	(void)arg;
	if (r <= 0)
		return r;
	while (other && strcmp(other->name, c.name))
		other = other->next;
	if (other || !*c.name)
		return torc_stream_write(s, "* another name, please\n", 23);
	r = torc_chan_init(&c.out, MESSAGE_MOST, WAITING_MOST);
	if (r == 0) {
		r = take_part(&c);
		torc_chan_done(&c.out);
	}
	return r;
}

static void listening(const char *address, void *arg)
{
	(void)arg;
	fprintf(stderr, "chat: on %s\n", address);
}

static int app(void *arg)
{
	return torc_serve_with(&(struct torc_serve_options){
		.addresses = (const char *const[]){ arg, NULL },
		.handler = serve,
		.connections_max = 1024,
		.on_listen = listening,
	});
}

int main(int argc, char **argv)
{
	int r = argc == 2 ? torc_run(NULL, app, argv[1]) : -EINVAL;

	if (!argv[1])
		fputs("usage: chat ADDRESS\n", stderr);
	else if (r < 0)
		fprintf(stderr, "chat: %s\n", strerror(-r));
	return r < 0;
}
