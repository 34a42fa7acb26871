/*
 * What a server makes of each row of conformance.h, over a socket: sent at once, byte by byte, and cut in two at every
 * byte; of every byte at each place of a request; and of requests that end early.
 *
 * A Unix socket, as that can tell when the server has taken what was sent: a cut is a cut for certain. The client
 * says all that it has to say and then ends its side, so that a test waits for nothing but the server.
 */
#include "tests/io/run.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include <torc/http/server.h>

#include "tests/http/conformance.h"

TestSuite(http_conformance, .timeout = 60);

#define CLIENTS 16
#define ANSWERS 16384 /* bytes, at most, that come back on a connection */

#ifdef __SANITIZE_ADDRESS__
#define STRIDE 5 /* slow: not every cut of every row, but others in each */
#else
#define STRIDE 1
#endif

/* --- the server --- */

static char to_print(char c)
{
	return c >= ' ' && c < 0x7f ? c : '.';
}

static size_t put(char *to, size_t at, size_t capacity, struct torc_slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		check_lt(at + 1, capacity);
		to[at++] = to_print(s.data[i]);
	}
	to[at] = '\0';
	return at;
}

static size_t put_text(char *to, size_t at, size_t capacity, const char *text)
{
	return put(to, at, capacity, (struct torc_slice){ text, strlen(text) });
}

static size_t put_request(char *to, size_t capacity, const struct torc_http_exchange *x)
{
	struct torc_slice query = torc_http_query(x);
	size_t at = put(to, 0, capacity, torc_http_method(x));

	at = put_text(to, at, capacity, " ");
	at = put(to, at, capacity, torc_http_path(x));
	at = put_text(to, at, capacity, query.len ? "?" : "");
	at = put(to, at, capacity, query);
	at = put_text(to, at, capacity, " ");
	return put(to, at, capacity, torc_http_host(x));
}

static int tell(struct torc_http_exchange *x, void *arg)
{
	char text[1024];
	size_t at = put_request(text, sizeof(text), x), start = at;
	struct torc_slice view;
	int r;

	(void)arg;
	while ((r = torc_http_body_peek(x, &view)) > 0) {
		if (at == start)
			at = put_text(text, at, sizeof(text), " =");
		at = put(text, at, sizeof(text), view);
		torc_http_body_consume(x, view.len);
	}
	if (!r)
		r = torc_http_add_field(x, "X-Saw", text);
	return r ? r : torc_http_respond(x, 200, NULL, NULL, 0);
}

/* --- what came back, as conformance.h writes it --- */

struct answers {
	char data[ANSWERS];
	size_t len;
	char told[ANSWERS];
	size_t told_len;
};

/* The value of a field of the head, which ends before `end`; "" when it has none. */
static struct torc_slice answer_field(const char *head, const char *end, const char *name)
{
	const char *at = strstr(head, name);
	struct torc_slice s = { "", 0 };

	if (at && at < end) {
		s.data = at + strlen(name);
		s.len = (size_t)(strstr(s.data, "\r\n") - s.data);
	}
	return s;
}

static void tell_answer(struct answers *a, int status, const char *head, const char *end)
{
	struct torc_slice saw = answer_field(head, end, "\r\nX-Saw: ");
	struct torc_slice connection = answer_field(head, end, "\r\nConnection: ");
	bool closes = connection.len == 5 && !memcmp(connection.data, "close", 5);
	int n;

	if (status == 200)
		n = sprintf(a->told + a->told_len, "%s%.*s%s", a->told_len ? ", " : "",
			    (int)saw.len, saw.data, closes ? "!" : "");
	else
		n = sprintf(a->told + a->told_len, "%s%d", a->told_len ? ", " : "", status);
	a->told_len += (size_t)n;
	check(status < 400 || closes);
}

static void tell_answers(struct answers *a)
{
	const char *at = a->data, *end;
	int status;

	a->told[a->told_len = 0] = '\0';
	while (*at) {
		struct torc_slice length;

		check_eq(sscanf(at, "HTTP/1.1 %d ", &status), 1);
		end = strstr(at, "\r\n\r\n");
		check(end);
		length = answer_field(at, end, "\r\nContent-Length: ");
		tell_answer(a, status, at, end);
		at = end + 4 + (length.len ? strtoul(length.data, NULL, 10) : 0);
		check(at <= a->data + a->len);
	}
}

/* --- clients --- */

/* To be sent in parts of `part` bytes, but for a first one that ends at `cut`. */
struct job {
	const char *name, *bytes, *expected;
	size_t len, cut, part;
	bool abandon;               /* close at once, without waiting for an answer */
	char made[256], wanted[64]; /* room for bytes and expected */
};

struct world {
	struct torc_group server, clients;
	char address[TORC_ADDRESS_MAX];
	/* What the next client is to do; `next` fills it in, and returns false when all is done. */
	bool (*next)(struct world *w, struct job *job);
	size_t row, cut;
	unsigned done;
	bool listens;
};

/* Waits until the server has taken all of it. */
static void await_taken(int fd)
{
	int left;

	while (ioctl(fd, SIOCOUTQ, &left) == 0 && left > 0)
		check_eq(torc_yield(), 0);
}

static void send_job(int fd, const struct job *job)
{
	size_t at = 0;

	while (at < job->len) {
		size_t n = at < job->cut ? job->cut - at : job->part;

		n = n < job->len - at ? n : job->len - at;
		if (torc_send_all(fd, job->bytes + at, n) < 0)
			return; /* it has closed, which the answers must account for */
		at += n;
		if (at < job->len)
			await_taken(fd);
	}
}

static void hear_all(int fd, struct answers *a)
{
	int r;

	a->len = 0;
	while ((r = torc_recv(fd, a->data + a->len, sizeof(a->data) - 1 - a->len, 0)) > 0)
		a->len += (size_t)r;
	check(r == 0 || r == -ECONNRESET);
	a->data[a->len] = '\0';
}

static void run_job(const struct world *w, const struct job *job, struct answers *a)
{
	int fd = torc_dial(w->address);

	check_ge(fd, 0);
	send_job(fd, job);
	if (job->abandon) {
		torc_close(fd);
		return;
	}
	(void)!torc_shutdown(fd, SHUT_WR);
	hear_all(fd, a);
	torc_close(fd);
	tell_answers(a);
	if (strcmp(a->told, job->expected)) {
		fprintf(stderr, "%s, cut at %zu, parts of %zu: \"%s\", not \"%s\"\n", job->name,
			job->cut, job->part, a->told, job->expected);
		abort();
	}
}

static int client(void *arg)
{
	struct answers *a = malloc(sizeof(*a));
	struct world *w = arg;
	struct job job;

	check(a);
	while (w->next(w, &job)) {
		run_job(w, &job, a);
		w->done++;
	}
	free(a);
	return 0;
}

/* --- the world --- */

static void listening(const char *address, void *arg)
{
	(void)address;
	((struct world *)arg)->listens = true;
}

static int serve(void *arg)
{
	struct world *w = arg;
	const char *const addresses[] = { w->address, NULL };

	return torc_http_serve(&(struct torc_http_options){
		.addresses = addresses,
		.handler = tell,
		.arg = w,
		.on_listen = listening,
		.line_bytes = 300,
		.head_bytes = 1500,
		.fields = 20,
		.body_bytes = 1000,
	});
}

static int world_main(void *arg)
{
	struct world *w = arg;

	torc_group_enter(&w->server);
	check_eq(torc_group_spawn(&w->server, serve, w), 0);
	while (!w->listens)
		check_eq(torc_yield(), 0);
	torc_group_enter(&w->clients);
	for (int i = 0; i < CLIENTS; i++)
		check_eq(torc_group_spawn(&w->clients, client, w), 0);
	check_eq(torc_group_wait(&w->clients), 0);
	torc_group_cancel(&w->server);
	return torc_group_wait(&w->server);
}

static void run_world(bool (*next)(struct world *, struct job *))
{
	struct world w = { .next = next };

	snprintf(w.address, sizeof(w.address), "unix:@torc-conformance-%d", (int)getpid());
	run(world_main, &w);
	printf("%u connections\n", w.done);
}

static void set_job(struct job *job, const struct row *row, size_t cut, size_t part)
{
	*job = (struct job){
		.name = row->name,
		.bytes = row->bytes,
		.expected = row->expected,
		.len = row->len,
		.cut = cut,
		.part = part,
	};
}

/* --- the table --- */

static bool next_whole(struct world *w, struct job *job)
{
	if (w->row == COUNT(rows))
		return false;
	set_job(job, &rows[w->row++], 0, SIZE_MAX);
	return true;
}

Test(http_conformance, each_row_is_answered_as_the_table_says)
{
	cr_assert_geq(COUNT(rows), 300);
	run_world(next_whole);
}

static bool next_bytewise(struct world *w, struct job *job)
{
	if (w->row == COUNT(rows))
		return false;
	set_job(job, &rows[w->row++], 0, 1);
	return true;
}

Test(http_conformance, each_row_is_answered_so_when_it_comes_byte_by_byte)
{
	run_world(next_bytewise);
}

static bool next_cut(struct world *w, struct job *job)
{
	w->cut += STRIDE;
	while (w->row < COUNT(rows) && w->cut >= rows[w->row].len) {
		w->row++;
		w->cut = 1 + w->row % STRIDE;
	}
	if (w->row == COUNT(rows))
		return false;
	set_job(job, &rows[w->row], w->cut, SIZE_MAX);
	return true;
}

Test(http_conformance, each_row_is_answered_so_wherever_it_is_cut_in_two)
{
	run_world(next_cut);
}

/* --- every byte at each place --- */

static bool is_alnum(int b)
{
	return (b >= '0' && b <= '9') || (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z');
}

static bool one_of(const char *set, int b)
{
	return b && strchr(set, b);
}

static bool is_token(int b)
{
	return is_alnum(b) || one_of("!#$%&'*+-.^_`|~", b);
}

static bool is_text(int b)
{
	return b == '\t' || (b >= ' ' && b != 0x7f);
}

static const char *if_good(bool good)
{
	return good ? "GET / h" : "400";
}

static const char *if_body(bool good)
{
	return good ? "GET / h =hello" : "400";
}

static const char *if_blank(int b, const char *digit)
{
	if (b >= '0' && b <= '9')
		return digit;
	return if_body(b == ' ' || b == '\t');
}

static const char *before_all(int b)
{
	return is_token(b) ? "501" : "400";
}

static const char *in_method(int b)
{
	return b == 'E' ? "GET / h" : is_token(b) ? "501" : "400";
}

static const char *in_target(int b)
{
	return b == '?' ? "GET / h" : b > ' ' && b < 0x7f && b != '#' ? "GET /@ h" : "400";
}

static const char *in_version(int b)
{
	return b == '1' ? "GET / h" : b == '0' ? "GET / h!" : b >= '2' && b <= '9' ? "505" : "400";
}

static const char *in_host(int b)
{
	return is_alnum(b) || one_of("-._~!$&'()*+;=", b) ? "GET / h@h" : "400";
}

static const char *in_name(int b)
{
	return if_good(is_token(b) || b == ':');
}

static const char *in_value(int b)
{
	return if_good(is_text(b));
}

static const char *at_line_end(int b)
{
	return if_good(b == '\n');
}

static const char *behind_length(int b)
{
	return if_blank(b, ""); /* and then the body is too short */
}

static const char *behind_coding(int b)
{
	return if_blank(b, "400");
}

static const char *behind_size(int b)
{
	return is_alnum(b) && (b | 0x20) <= 'f' ? "" : "400";
}

static const char *in_extension(int b)
{
	return if_body(is_token(b));
}

static const char *in_quotes(int b)
{
	return if_body(is_text(b) && b != '"' && b != '\\');
}

static const char *behind_backslash(int b)
{
	return if_body(is_text(b));
}

static const char *in_trailer_name(int b)
{
	return if_body(is_token(b) || b == ':');
}

static const char *in_trailer(int b)
{
	return if_body(is_text(b));
}

#define CHUNKED GET HOST "Transfer-Encoding: chunked\r\n\r\n"

/* An @ stands for the byte, in what is sent and in what is expected. */
static const struct place {
	const char *name, *bytes;
	const char *(*expected)(int byte);
} places[] = {
	{ "before all", "@" GET HOST "\r\n", before_all },
	{ "in the method", "G@T / HTTP/1.1\r\n" HOST "\r\n", in_method },
	{ "in the target", "GET /@ HTTP/1.1\r\n" HOST "\r\n", in_target },
	{ "in the version", "GET / HTTP/1.@\r\n" HOST "\r\n", in_version },
	{ "in the Host", GET "Host: h@h\r\n\r\n", in_host },
	{ "in a name", GET HOST "A@: b\r\n\r\n", in_name },
	{ "in a value", GET HOST "A: b@c\r\n\r\n", in_value },
	{ "behind a value", GET HOST "A: b@\r\n\r\n", in_value },
	{ "before a value", GET HOST "A:@b\r\n\r\n", in_value },
	{ "behind a CR", GET HOST "A: b\r@\r\n", at_line_end },
	{ "behind a length", GET HOST "Content-Length: 5@\r\n\r\nhello", behind_length },
	{ "behind a coding", GET HOST "Transfer-Encoding: chunked@\r\n\r\n" HELLO LAST,
	  behind_coding },
	{ "behind a size", CHUNKED "5@\r\nhello\r\n" LAST, behind_size },
	{ "in an extension", CHUNKED "5;a@\r\nhello\r\n" LAST, in_extension },
	{ "in quotes", CHUNKED "5;a=\"@\"\r\nhello\r\n" LAST, in_quotes },
	{ "behind a backslash", CHUNKED "5;a=\"\\@\"\r\nhello\r\n" LAST, behind_backslash },
	{ "in a trailer's name", CHUNKED HELLO "0\r\nA@: b\r\n\r\n", in_trailer_name },
	{ "in a trailer", CHUNKED HELLO "0\r\nA: b@\r\n\r\n", in_trailer },
};

static size_t fill_in(char *to, const char *template, int byte)
{
	size_t len = strlen(template);

	memcpy(to, template, len + 1);
	for (size_t i = 0; i < len; i++)
		if (template[i] == '@')
			to[i] = (char)byte;
	return len;
}

/* w->row is the place, w->cut the byte. */
static bool next_byte(struct world *w, struct job *job)
{
	const struct place *p = &places[w->row];
	int byte = (int)w->cut;

	if (w->row == COUNT(places))
		return false;
	*job = (struct job){ .name = p->name, .cut = w->cut, .part = SIZE_MAX };
	job->bytes = job->made;
	job->expected = job->wanted;
	job->len = fill_in(job->made, p->bytes, byte);
	fill_in(job->wanted, p->expected(byte), byte);
	w->row += w->cut == 255;
	w->cut = (w->cut + 1) % 256;
	return true;
}

Test(http_conformance, every_byte_at_each_place_is_taken_or_refused_as_the_grammar_says)
{
	run_world(next_byte);
}

/* --- the end comes early --- */

static const struct {
	const char *bytes, *told; /* once all of it has come */
} train[] = {
	{ GET HOST "\r\n", "GET / h" },
	{ POST "Content-Length: 5\r\n\r\nhello", ", POST /p h =hello" },
	{ POST "Transfer-Encoding: chunked\r\n\r\n" HELLO "0;a=b\r\nC: d\r\n\r\n",
	  ", POST /p h =hello" },
	{ "HEAD /a?b HTTP/1.1\r\n" HOST "\r\n", ", HEAD /a?b h" },
};

/* The first w->cut bytes of the train, and whom it answers. */
static bool next_prefix(struct world *w, struct job *job)
{
	size_t left = w->cut++;

	*job = (struct job){ .name = "train", .part = SIZE_MAX };
	job->bytes = job->made;
	job->expected = job->wanted;
	for (size_t i = 0; i < COUNT(train); i++) {
		size_t len = strlen(train[i].bytes), n = left < len ? left : len;

		check_lt(job->len + n, sizeof(job->made));
		memcpy(job->made + job->len, train[i].bytes, n);
		job->len += n;
		left -= n;
		if (n < len)
			return true;
		check_lt(strlen(job->wanted) + strlen(train[i].told), sizeof(job->wanted));
		strcat(job->wanted, train[i].told);
	}
	return left == 0;
}

Test(http_conformance, of_a_train_that_ends_at_any_byte_what_is_complete_is_answered)
{
	run_world(next_prefix);
}

static bool next_prefix_bytewise(struct world *w, struct job *job)
{
	bool more = next_prefix(w, job);

	job->part = 1;
	return more;
}

Test(http_conformance, a_train_byte_by_byte_that_ends_at_any_byte_is_answered_alike)
{
	run_world(next_prefix_bytewise);
}

static bool next_abandoned(struct world *w, struct job *job)
{
	bool more = next_prefix(w, job);

	job->abandon = true;
	return more;
}

Test(http_conformance, clients_that_leave_at_any_byte_leave_nothing_behind)
{
	run_world(next_abandoned);
}
