/*
 * Server-sent events, read as WHATWG HTML says.
 */
#include "tests/http/world.h"

#include <torc/core/chan.h>
#include <torc/core/fiber.h>
#include <torc/executor/offload.h>
#include <torc/http/compress.h>
#include <torc/http/events.h>

TestSuite(http_events, .timeout = 60);

static struct torc_chan items;
static struct torc_http_events_options options;
static uint64_t interval_ns;
static char last_id[64];

static int stream(struct torc_http_exchange *x, void *arg)
{
	struct torc_http_event event;
	struct torc_slice id;
	struct world *w = arg;
	int r;

	*last_id = '\0';
	if (torc_http_events_last_id(x, &id))
		snprintf(last_id, sizeof(last_id), "%.*s", (int)id.len, id.data);
	w->open++;
	r = torc_http_events_begin(x, &options);
	check(r || torc_http_events_begin(x, NULL) == -EALREADY);
	while (!r) {
		r = torc_http_events_wait(x, &items, &event, interval_ns);
		if (r <= 0)
			break;
		r = torc_http_events_send(x, &event);
		w->calls += r == -EINVAL;
		r = r == -EINVAL ? 0 : r;
	}
	w->result = r;
	w->open--;
	return r;
}

static int stream_compressed(struct torc_http_exchange *x, void *arg)
{
	const struct torc_http_step steps[] = { { torc_http_compress, NULL }, { stream, arg } };

	return torc_http_run(x, steps, 2);
}

static void run_stream(void (*client)(struct world *))
{
	struct world w = { .options.grace_ns = TORC_SECONDS(20) };

	check_eq(torc_chan_init(&items, sizeof(struct torc_http_event), 4), 0);
	interval_ns = TORC_NEVER;
	run_world_with(&w, stream_compressed, client);
	torc_chan_done(&items);
}

/* --- a client that takes the text of the stream out of its chunks --- */

struct listener {
	struct client c;
	char head[2048];
	char text[200000];
	size_t len;
	bool ended;
};

static void listen_to(struct world *w, struct listener *l, const char *fields)
{
	char request[512];
	char *end;

	memset(l, 0, sizeof(*l));
	dial(w, &l->c);
	snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", fields);
	say(&l->c, request);
	while (!l->c.len || !(end = strstr(l->c.data, "\r\n\r\n")))
		check(hear(&l->c));
	snprintf(l->head, sizeof(l->head), "%.*s", (int)(end - l->c.data), l->c.data);
	drop(&l->c, (size_t)(end - l->c.data) + 4);
}

/* A further chunk. */
static bool hear_more(struct listener *l)
{
	for (;;) {
		char *line = l->c.len ? strstr(l->c.data, "\r\n") : NULL;
		size_t n = line ? strtoul(l->c.data, NULL, 16) : 0;
		size_t head = line ? (size_t)(line - l->c.data) + 2 : 0;

		if (!line || l->c.len < head + n + 2) {
			if (!hear(&l->c))
				return false;
			continue;
		}
		memcpy(l->text + l->len, l->c.data + head, n);
		l->len += n;
		l->text[l->len] = '\0';
		drop(&l->c, head + n + 2);
		l->ended = !n;
		return n != 0;
	}
}

static void hear_text(struct listener *l, const char *text)
{
	while (l->len < strlen(text))
		check(hear_more(l));
	if (strcmp(l->text, text)) {
		fprintf(stderr, "heard: %s\nnot:   %s\n", l->text, text);
		abort();
	}
	l->len = 0;
}

static void give(struct torc_http_event event)
{
	check_eq(torc_chan_send(&items, &event), 0);
}

#define DATA(text) .data = text, .len = sizeof(text) - 1

static struct listener a;

static void listen_to_all(struct world *w)
{
	options.retry_ms = 2500;
	listen_to(w, &a, "Last-Event-ID: 41\r\n");
	check(!strncmp(a.head, "HTTP/1.1 200 ", 13));
	check(strstr(a.head, "Content-Type: text/event-stream\r\n"));
	check(strstr(a.head, "Cache-Control: no-store"));
	hear_text(&a, "retry: 2500\n\n");
	check(!strcmp(last_id, "41"));
	give((struct torc_http_event){ DATA("hello") });
	hear_text(&a, "data: hello\n\n");
	give((struct torc_http_event){ .event = "news", .id = "42", .retry_ms = 7, DATA("x") });
	hear_text(&a, "event: news\nid: 42\nretry: 7\ndata: x\n\n");
	give((struct torc_http_event){ DATA("") });
	hear_text(&a, "data: \n\n");
	give((struct torc_http_event){ .id = "" });
	hear_text(&a, "id: \n\n");
	give((struct torc_http_event){ DATA("a\nb\r\nc\rd\n\r e:") });
	hear_text(&a, "data: a\ndata: b\ndata: c\ndata: d\ndata: \ndata:  e:\n\n");
	give((struct torc_http_event){ DATA("\n") });
	hear_text(&a, "data: \ndata: \n\n");
	give((struct torc_http_event){ DATA("x\r") });
	hear_text(&a, "data: x\ndata: \n\n");
	/* Nothing of what would be another field, or event. */
	give((struct torc_http_event){ .event = "a\nb", DATA("x") });
	give((struct torc_http_event){ .id = "a\rb", DATA("x") });
	give((struct torc_http_event){ DATA("next") });
	hear_text(&a, "data: next\n\n");
	check_eq(w->calls, 2);
	torc_chan_close(&items);
	check(!hear_more(&a) && a.ended);
	hang_up(&a.c);
}

Test(http_events, sends_events)
{
	run_stream(listen_to_all);
}

static void listen_to_much(struct world *w)
{
	static char data[100001], text[150000];
	size_t n = 0;

	options.retry_ms = 0;
	memset(data, 'x', sizeof(data) - 1);
	for (size_t i = 999; i < sizeof(data) - 1; i += 1000)
		data[i] = '\n';
	listen_to(w, &a, "");
	give((struct torc_http_event){ .data = data, .len = sizeof(data) - 2 });
	for (size_t i = 0; i < 100; i++)
		n += (size_t)sprintf(text + n, "data: %.999s\n", data);
	strcat(text, "\n");
	hear_text(&a, text);
	hang_up(&a.c);
}

Test(http_events, sends_events_of_any_length)
{
	run_stream(listen_to_much);
}

static void listen_to_nothing(struct world *w)
{
	interval_ns = TORC_SECONDS(1) / 50;
	listen_to(w, &a, "");
	hear_text(&a, ":\n\n");
	hear_text(&a, ":\n\n");
	give((struct torc_http_event){ DATA("x") });
	while (!strstr(a.text, "data: x\n\n"))
		check(hear_more(&a));
	hang_up(&a.c);
	while (w->open)
		check_eq(torc_yield(), 0);
	interval_ns = 0;
	listen_to(w, &a, "");
	check(!hear_more(&a)); /* -EINVAL */
	check_eq(w->result, -EINVAL);
	hang_up(&a.c);
}

Test(http_events, sends_comments_while_nothing_happens)
{
	run_stream(listen_to_nothing);
}

static void leave(struct world *w)
{
	struct torc_http_event event = { DATA("for another") };

	listen_to(w, &a, "");
	check_eq(w->open, 1);
	hang_up(&a.c);
	while (w->open)
		check_eq(torc_yield(), 0);
	check_eq(w->result, -ECANCELED);
	/* Nobody has taken it. */
	check_eq(torc_chan_send(&items, &event), 0);
	check_eq(torc_chan_try_recv(&items, &event), 1);
}

Test(http_events, ends_when_the_client_leaves)
{
	run_stream(leave);
}

static void stop(struct world *w)
{
	struct torc_scope shield;

	listen_to(w, &a, "");
	torc_group_cancel(&w->group);
	torc_scope_enter_shield(&shield, TORC_SECONDS(10));
	check(!hear_more(&a) && a.ended);
	check_eq(w->result, 0);
	expect_end(&a.c);
	torc_scope_leave(&shield);
	hang_up(&a.c);
}

/* Long before its grace period is over. */
Test(http_events, ends_when_the_server_stops)
{
	run_stream(stop);
}

/* --- node or curl as a client, compressed --- */

static int command(void *arg)
{
	return system(arg) ? -EIO : 0;
}

static int give_three(void *arg)
{
	(void)arg;
	for (int i = 0; i < 3; i++)
		give((struct torc_http_event){ DATA("compressed") });
	torc_chan_close(&items);
	return 0;
}

static void listen_with_curl(struct world *w)
{
	struct torc_group group;
	char line[512];

	options.retry_ms = 0;
	snprintf(line, sizeof(line),
		 "test \"$(curl -sN --compressed http%s/ | grep -c '^data: compressed$')\" = 3",
		 strstr(w->address, "://"));
	torc_group_enter(&group);
	check_eq(torc_group_spawn(&group, give_three, NULL), 0);
	check_eq(torc_offload(command, line), 0);
	check_eq(torc_group_wait(&group), 0);
}

Test(http_events, are_read_by_curl_compressed)
{
	if (system("command -v curl >/dev/null"))
		cr_skip_test("there is no curl");
	run_stream(listen_with_curl);
}

/* --- before and after --- */

static int misuse(struct torc_http_exchange *x, void *arg)
{
	struct torc_scope scope;

	(void)arg;
	check_eq(torc_http_events_comment(x, "a\nb"), -EINVAL);
	check_eq(torc_http_events_comment(x, "too early"), -EINVAL);
	check_eq(torc_http_add_field(x, "cache-control", "no-cache"), 0);
	check_eq(torc_http_events_begin(x, NULL), 0);
	check_eq(torc_http_events_comment(x, "hi"), 0);
	torc_scope_enter(&scope, 0);
	check_eq(torc_http_events_wait(x, &items, NULL, TORC_SECONDS(1)), -ETIMEDOUT);
	torc_scope_leave(&scope);
	return 0;
}

static void listen_to_misuse(struct world *w)
{
	listen_to(w, &a, "Last-Event-ID:\r\n");
	check(strstr(a.head, "cache-control: no-cache") && !strstr(a.head, "no-store"));
	hear_text(&a, ":hi\n\n");
	check(!hear_more(&a) && a.ended);
	hang_up(&a.c);
}

Test(http_events, says_what_is_wrong)
{
	struct world w = { 0 };

	check_eq(torc_chan_init(&items, sizeof(struct torc_http_event), 4), 0);
	run_world_with(&w, misuse, listen_to_misuse);
	torc_chan_done(&items);
}
