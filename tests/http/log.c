/*
 * The access log: its lines, its file, and what becomes of both when things go wrong.
 */
#include "tests/http/steps.h"

#include <torc/http/auth.h>
#include <torc/http/log.h>
#include <torc/http/request_id.h>
#include <torc/http/router.h>
#include <torc/io/file.h>

#include "http/internal/log.h"

TestSuite(http_log, .timeout = 60);

static struct torc_http_log access_log;
static struct torc_http_log_options options;
static char directory[64], path[128];
static _Atomic int errors, last_error;

static void on_log_error(int error, void *arg)
{
	(void)arg;
	errors++;
	last_error = error;
}

static void make_directory(void)
{
	strcpy(directory, "/tmp/torc-log-XXXXXX");
	check(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/access.log", directory);
	options = (struct torc_http_log_options){ .path = path, .on_error = on_log_error };
	errors = last_error = 0;
}

static void remove_directory(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", directory);
	check_eq(system(command), 0);
}

static void open_log(void)
{
	check_eq(torc_http_log_open(&access_log, &options), 0);
}

static void close_log(void)
{
	torc_http_log_close(&access_log);
}

/* All of a file; the caller's. */
static char *contents(const char *name)
{
	FILE *f = fopen(name, "re");
	char *text = calloc(1, 4 << 20);

	check(f);
	check(text);
	check(fread(text, 1, (4 << 20) - 1, f) < (4 << 20) - 1);
	fclose(f);
	return text;
}

static size_t count_lines(const char *text)
{
	size_t n = 0;

	for (; (text = strchr(text, '\n')); text++)
		n++;
	return n;
}

static void run_logged(struct stage *s, void (*client)(struct world *))
{
	s->before = open_log;
	s->after = close_log;
	run_stage(s, client);
}

static const struct torc_http_step plain_steps[] = { { torc_http_log_handle, &access_log },
						     { say_ok, NULL } };

#define PLAIN .steps = plain_steps, .step_count = 2

static void expect_text(const char *text, const char *part)
{
	if (!strstr(text, part)) {
		fprintf(stderr, "no %s in:\n%s\n", part, text);
		abort();
	}
}

/* --- lines --- */

static void ask_once(struct world *w)
{
	check_eq(ask_status(w, "GET /a?b=c HTTP/1.1\r\nHost: h\r\nReferer: http://r/\r\n"
			       "User-Agent: curl/8\r\n\r\n"),
		 200);
}

/* A line of the common format, up to its end or what follows. */
static void expect_common(const char *text, const char *rest)
{
	char month[4], tail[256];
	int day, year, hour, minute, second;

	check_eq(sscanf(text, "127.0.0.1 - - [%2d/%3[A-Za-z]/%4d:%2d:%2d:%2d +0000] %255[^\n]",
			&day, month, &year, &hour, &minute, &second, tail),
		 7);
	check_ge(year, 2024);
	check(!strcmp(tail, rest));
}

static char *log_of(enum torc_http_log_format format, void (*client)(struct world *))
{
	char *text;

	make_directory();
	options.format = format;
	run_logged(&(struct stage){ PLAIN }, client);
	text = contents(path);
	remove_directory();
	return text;
}

Test(http_log, writes_the_common_format)
{
	char *text = log_of(TORC_HTTP_LOG_COMMON, ask_once);

	expect_common(text, "\"GET /a?b=c HTTP/1.1\" 200 2");
	check_eq(count_lines(text), 1);
	free(text);
}

Test(http_log, writes_the_combined_format)
{
	char *text = log_of(TORC_HTTP_LOG_COMBINED, ask_once);

	expect_common(text, "\"GET /a?b=c HTTP/1.1\" 200 2 \"http://r/\" \"curl/8\"");
	free(text);
}

static int let_in(struct torc_http_exchange *x, const char *user, const char *password, void *arg)
{
	(void)x;
	(void)user;
	(void)password;
	(void)arg;
	return 0;
}

static struct torc_http_basic basic = { .realm = "r", .check = let_in };
static struct torc_router *router;

static const struct torc_http_step full_steps[] = { { torc_http_log_handle, &access_log },
						    { torc_http_request_id_handle, NULL },
						    { torc_http_basic_handle, &basic },
						    { torc_router_handle, NULL } };

static int route(struct torc_http_exchange *x, void *arg)
{
	struct torc_http_step steps[4];

	(void)arg;
	memcpy(steps, full_steps, sizeof(steps));
	steps[3].arg = router;
	return torc_http_run(x, steps, 4);
}

static const struct torc_http_step routed_steps[] = { { route, NULL } };

static void ask_routed(struct world *w)
{
	/* a b:c */
	check_eq(ask_status(w, "GET /u/7 HTTP/1.1\r\nHost: h:1\r\nX-Request-Id: id-1\r\n"
			       "Authorization: Basic YSBiOmM=\r\n\r\n"),
		 200);
}

static char *routed_log(enum torc_http_log_format format)
{
	char *text;

	make_directory();
	options.format = format;
	check_eq(torc_router_create(NULL, &router), 0);
	check_eq(torc_router_add(router, "GET", "/u/:id", say_ok, NULL), 0);
	run_logged(&(struct stage){ .steps = routed_steps, .step_count = 1 }, ask_routed);
	torc_router_destroy(router);
	text = contents(path);
	remove_directory();
	return text;
}

Test(http_log, writes_json)
{
	char *text = routed_log(TORC_HTTP_LOG_JSON);
	int ms, duration;

	check_eq(count_lines(text), 1);
	check_eq(sscanf(text, "{\"time\":\"%*4d-%*2d-%*2dT%*2d:%*2d:%*2d.%3dZ\",", &ms), 1);
	expect_text(text, "Z\",\"remote\":\"127.0.0.1\",\"host\":\"h:1\",\"method\":\"GET\","
			  "\"path\":\"/u/7\",\"status\":200,\"bytes\":2,\"duration\":");
	check_eq(sscanf(strstr(text, "\"duration\":"), "\"duration\":%d,", &duration), 1);
	check_lt(duration, 10000000);
	expect_text(text, ",\"user\":\"a b\",\"request_id\":\"id-1\",\"route\":\"/u/:id\"}\n");
	check(!strstr(text, "referer"));
	check(!strstr(text, "query"));
	free(text);
}

Test(http_log, shows_the_user_as_one_word)
{
	char *text = routed_log(TORC_HTTP_LOG_COMMON);

	check(!strncmp(text, "127.0.0.1 - a_b [", 17));
	free(text);
}

static const struct torc_http_step unanswered[] = { { torc_http_log_handle, &access_log } };

static void ask_unanswered(struct world *w)
{
	check_eq(ask_status(w, GET("/none")), 404);
}

Test(http_log, knows_what_the_server_answers_by_itself)
{
	char *text;

	make_directory();
	run_logged(&(struct stage){ .steps = unanswered, .step_count = 1 }, ask_unanswered);
	text = contents(path);
	expect_text(text, "\"GET /none HTTP/1.1\" 404 9 ");
	free(text);
	remove_directory();
}

/* --- hostile fields --- */

#define SLICE(text) ((struct torc_slice){ text, sizeof(text) - 1 })

Test(http_log, escapes_what_could_forge_a_line)
{
	static const struct {
		struct torc_slice in;
		const char *plain, *json;
	} cases[] = {
		{ SLICE("plain text"), "plain text", "plain text" },
		{ SLICE("a\"b\\c"), "a\\\"b\\\\c", "a\\\"b\\\\c" },
		{ SLICE("a\r\nb"), "a\\x0d\\x0ab", "a\\u000d\\u000ab" },
		{ SLICE("\0\t\x1b[31m\x7f"), "\\x00\\x09\\x1b[31m\\x7f",
		  "\\u0000\\u0009\\u001b[31m\\u007f" },
		{ SLICE("\xc3\xa9"), "\\xc3\\xa9", "\xc3\xa9" },
		{ SLICE("\xf0\x9f\x98\x80"), "\\xf0\\x9f\\x98\\x80", "\xf0\x9f\x98\x80" },
		{ SLICE("\xc2\x85"), "\\xc2\\x85", "\\u0085" },
		{ SLICE("\xff\xc3"), "\\xff\\xc3", "\\ufffd\\ufffd" },
		{ SLICE("\xc0\xaf"), "\\xc0\\xaf", "\\ufffd\\ufffd" },
		{ SLICE("\xe0\x80\x80"), "\\xe0\\x80\\x80", "\\ufffd\\ufffd\\ufffd" },
		{ SLICE("\xed\xa0\x80"), "\\xed\\xa0\\x80", "\\ufffd\\ufffd\\ufffd" },
		{ SLICE("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80",
		  "\\ufffd\\ufffd\\ufffd\\ufffd" },
		{ SLICE(""), "", "" },
	};
	char out[256];

	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t n = torc__log_escape(cases[i].in, false, out, sizeof(out));

		check(n == strlen(cases[i].plain) && !memcmp(out, cases[i].plain, n));
		n = torc__log_escape(cases[i].in, true, out, sizeof(out));
		check(n == strlen(cases[i].json) && !memcmp(out, cases[i].json, n));
		for (size_t room = 0; room < n; room++)
			check_le(torc__log_escape(cases[i].in, true, out, room), room);
	}
}

/* Words are looked at as a whole: each byte at each place in one. */
Test(http_log, escapes_wherever_it_stands)
{
	for (int c = 0; c < 256; c++)
		for (size_t at = 0; at < 20; at++) {
			bool clean = c >= ' ' && c < 0x7f && c != '"' && c != '\\';
			char text[20], out[64];
			size_t n;

			memset(text, 'a', sizeof(text));
			text[at] = (char)c;
			n = torc__log_escape((struct torc_slice){ text, 20 }, false, out,
					     sizeof(out));
			check(!memcmp(out, text, at));
			check_eq(n == 20, clean);
			check_eq(out[at] == '\\', !clean);
			check(!memcmp(out + n - (19 - at), text + at + 1, 19 - at));
		}
}

static void ask_hostile(struct world *w)
{
	check_eq(ask_status(w, "GET /\"%0a HTTP/1.1\r\nHost: h\r\n"
			       "Referer: x\" 200 0\t\"\r\nUser-Agent: \xff\\\r\n\r\n"),
		 200);
}

Test(http_log, keeps_a_client_inside_of_its_field)
{
	char *text = log_of(TORC_HTTP_LOG_COMBINED, ask_hostile);

	check_eq(count_lines(text), 1);
	expect_text(text,
		    "\"GET /\\\"%0a HTTP/1.1\" 200 2 \"x\\\" 200 0\\x09\\\"\" \"\\xff\\\\\"\n");
	free(text);
	text = log_of(TORC_HTTP_LOG_JSON, ask_hostile);
	check_eq(count_lines(text), 1);
	expect_text(text, "\"path\":\"/\\\"%0a\"");
	expect_text(text,
		    "\"referer\":\"x\\\" 200 0\\u0009\\\"\",\"user_agent\":\"\\ufffd\\\\\"}\n");
	free(text);
}

static void ask_long(struct world *w)
{
	char request[8192], *p = request;

	p += sprintf(p, "GET /");
	memset(p, 'q', 4000);
	p += 4000;
	p += sprintf(p, " HTTP/1.1\r\nHost: h\r\nReferer: ");
	memset(p, '\\', 2000);
	sprintf(p + 2000, "\r\n\r\n");
	check_eq(ask_status(w, request), 200);
}

Test(http_log, cuts_long_fields)
{
	char *text = log_of(TORC_HTTP_LOG_COMBINED, ask_long);

	check_eq(count_lines(text), 1);
	check_eq(strspn(strchr(text, 'q'), "q"), 2047);
	check_eq(strspn(strchr(text, '\\'), "\\"), 1024);
	free(text);
}

/* --- several loops --- */

static void ask_many(struct world *w)
{
	for (int i = 0; i < 30; i++) {
		struct client c;

		dial(w, &c);
		for (int k = 0; k < 20; k++)
			say(&c, GET("/many"));
		for (int k = 0; k < 20; k++)
			expect(&c, 200, "ok");
		hang_up(&c);
	}
}

static void expect_whole(const char *text, size_t lines)
{
	check_eq(count_lines(text), lines);
	for (; *text; text = strchr(text, '\n') + 1) {
		static const char end[] = "] \"GET /many HTTP/1.1\" 200 2 \"-\" \"-\"\n";
		const char *rest = strstr(text, "] ");

		check(!strncmp(text, "127.0.0.1 - - [", 15));
		check(rest && rest < strchr(text, '\n'));
		check(!strncmp(rest, end, strlen(end)));
	}
}

Test(http_log, loses_no_line_of_several_loops)
{
	char *text;

	make_directory();
	options.flush_ns = 1;
	run_logged(&(struct stage){ PLAIN, .world.runtime = { .loops = 3, .no_pin = true } },
		   ask_many);
	text = contents(path);
	expect_whole(text, 600);
	check_eq(errors, 0);
	free(text);
	remove_directory();
}

/* --- a file that is slow, or fails --- */

static int pipe_fds[2];
static uint64_t dropped;

static void ask_hundred(struct world *w)
{
	struct client c;

	dial(w, &c);
	for (int i = 0; i < 100; i++) {
		say(&c, GET("/many"));
		expect(&c, 200, "ok");
	}
	hang_up(&c);
}

static void note_dropped_and_close(void)
{
	close_log();
}

static void watch_drops(struct world *w)
{
	ask_hundred(w);
	ask_hundred(w);
	dropped = torc_http_log_dropped(&access_log);
}

/* What fits is there, what does not is counted, and no request has waited. */
Test(http_log, drops_lines_when_nobody_takes_them)
{
	static char text[65536];
	ssize_t n;

	make_directory();
	check_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
	check_eq(fcntl(pipe_fds[1], F_SETPIPE_SZ, 4096), 4096);
	options = (struct torc_http_log_options){ .fd = pipe_fds[1],
						  .buffer_bytes = 4096,
						  .flush_ns = 1,
						  .write_ns = TORC_MS(200),
						  .on_error = on_log_error };
	run_stage(&(struct stage){ PLAIN, .before = open_log, .after = note_dropped_and_close },
		  watch_drops);
	check_ge(dropped, 20);
	check_eq(errors, 1);
	check_eq(last_error, -ETIMEDOUT);
	close(pipe_fds[1]);
	n = read(pipe_fds[0], text, sizeof(text) - 1);
	check_ge(n, 3000);
	close(pipe_fds[0]);
	remove_directory();
}

static void fill_then_drain(struct world *w)
{
	static char text[1 << 20];
	char *note;
	size_t n = 0, lines;
	unsigned told;

	ask_hundred(w);
	ask_hundred(w);
	dropped = torc_http_log_dropped(&access_log);
	check_ge(dropped, 1);
	/* Somebody reads again. */
	for (;;) {
		struct pollfd p = { .fd = pipe_fds[0], .events = POLLIN };

		if (poll(&p, 1, 0) == 1)
			n += (size_t)read(pipe_fds[0], text + n, sizeof(text) - 1 - n);
		text[n] = '\0';
		if ((note = strstr(text, "# ")) && strchr(note, '\n') &&
		    count_lines(text) + dropped >= 201)
			break;
		check_eq(torc_sleep(TORC_MS(1)), 0);
	}
	check_eq(sscanf(note, "# %u lines dropped\n", &told), 1);
	check_eq(told, dropped);
	lines = count_lines(text) - 1;
	check_eq(lines + dropped, 200);
	check_eq(torc_http_log_dropped(&access_log), dropped);
}

Test(http_log, tells_how_many_lines_it_has_dropped)
{
	make_directory();
	check_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
	check_eq(fcntl(pipe_fds[1], F_SETPIPE_SZ, 4096), 4096);
	options = (struct torc_http_log_options){
		.fd = pipe_fds[1], .buffer_bytes = 4096, .flush_ns = 1, .on_error = on_log_error
	};
	run_stage(&(struct stage){ PLAIN, .before = open_log, .after = close_log },
		  fill_then_drain);
	check_eq(errors, 0);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	remove_directory();
}

static void ask_and_flush(struct world *w)
{
	for (int i = 0; i < 3; i++) {
		ask_once(w);
		check_eq(torc_http_log_flush(&access_log), 0);
	}
	dropped = torc_http_log_dropped(&access_log);
}

Test(http_log, reports_a_full_disk_once_and_answers_all_the_same)
{
	make_directory();
	options.path = "/dev/full";
	run_logged(&(struct stage){ PLAIN }, ask_and_flush);
	check_eq(errors, 1);
	check_eq(last_error, -ENOSPC);
	check_eq(dropped, 3);
	remove_directory();
}

static void set_file_limit(rlim_t bytes)
{
	struct rlimit limit;

	check_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	check_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void meet_the_limit(struct world *w)
{
	set_file_limit(100); /* in the middle of the second line */
	ask_once(w);
	ask_once(w);
	check_eq(torc_http_log_flush(&access_log), 0);
	check_eq(errors, 1);
	check_eq(last_error, -EFBIG);
	set_file_limit(RLIM_INFINITY);
	ask_once(w);
	check_eq(torc_http_log_flush(&access_log), 0);
	set_file_limit(1);
	ask_once(w);
	check_eq(torc_http_log_flush(&access_log), 0);
	set_file_limit(RLIM_INFINITY);
	check_eq(errors, 2); /* it had gone well in between */
}

Test(http_log, begins_a_new_line_after_one_that_was_cut)
{
	const char *line[6];
	char *text, *at;

	make_directory();
	options.flush_ns = TORC_SECONDS(30);
	run_logged(&(struct stage){ PLAIN }, meet_the_limit);
	text = at = contents(path);
	check_eq(count_lines(text), 5);
	for (int i = 0; i < 5; i++) {
		line[i] = strsep(&at, "\n");
		check(line[i]);
	}
	expect_common(line[0], "\"GET /a?b=c HTTP/1.1\" 200 2 \"http://r/\" \"curl/8\"");
	check(strlen(line[1]) < strlen(line[0]));
	check(!strcmp(line[2], "# 1 lines dropped"));
	check(!strcmp(line[3] + strlen(line[3]) - 8, "\"curl/8\""));
	check(!strcmp(line[4], "# 1 lines dropped")); /* at the end */
	free(text);
	remove_directory();
}

static void ask_too_long_a_line(struct world *w)
{
	static char request[16384];
	char *p = request;

	p += sprintf(p, "GET /");
	memset(p, '"', 3000);
	p += 3000;
	strcpy(p, " HTTP/1.1\r\nHost: h\r\n\r\n");
	check_eq(ask_status(w, request), 200);
	check_eq(torc_http_log_dropped(&access_log), 1);
	ask_once(w);
}

Test(http_log, drops_a_line_that_no_buffer_holds)
{
	char *text;

	make_directory();
	options.buffer_bytes = 4096;
	run_logged(&(struct stage){ PLAIN }, ask_too_long_a_line);
	text = contents(path);
	check(!strncmp(text, "# 1 lines dropped\n127.0.0.1 ", 28));
	check_eq(count_lines(text), 2);
	free(text);
	remove_directory();
}

/* --- its life --- */

static void rotate(struct world *w)
{
	char old[160], away[160];
	struct torc_scope scope;
	char *text;

	snprintf(old, sizeof(old), "%s.1", path);
	snprintf(away, sizeof(away), "%s-away", directory);
	ask_once(w);
	check_eq(torc_http_log_flush(&access_log), 0);
	check_eq(rename(path, old), 0);
	check_eq(torc_http_log_reopen(&access_log), 0);
	ask_once(w);
	check_eq(torc_http_log_flush(&access_log), 0);
	text = contents(old);
	check_eq(count_lines(text), 1);
	free(text);
	text = contents(path);
	check_eq(count_lines(text), 1);
	free(text);
	/* It stays where it is. */
	check_eq(rename(directory, away), 0);
	check_eq(torc_http_log_reopen(&access_log), -ENOENT);
	check_eq(rename(away, directory), 0);
	torc_scope_enter(&scope, TORC_NEVER);
	torc_scope_cancel(&scope);
	check_eq(torc_http_log_reopen(&access_log), -ECANCELED);
	check_eq(torc_http_log_flush(&access_log), -ECANCELED);
	torc_scope_leave(&scope);
	ask_once(w);
	check_eq(torc_http_log_flush(&access_log), 0);
	text = contents(path);
	check_eq(count_lines(text), 2);
	free(text);
}

Test(http_log, reopens_a_file_that_was_renamed)
{
	make_directory();
	run_logged(&(struct stage){ PLAIN }, rotate);
	remove_directory();
}

Test(http_log, reopens_on_several_loops)
{
	make_directory();
	run_logged(&(struct stage){ PLAIN, .world.runtime = { .loops = 3, .no_pin = true } },
		   rotate);
	remove_directory();
}

/* The fiber that has opened it is cancelled, as by SIGTERM: what was logged is written all the same. */
static int close_cancelled(void *arg)
{
	struct torc_scope scope;
	struct stage *s = arg;

	torc_scope_enter(&scope, TORC_NEVER);
	open_log();
	check_eq(world_main(&s->world), 0);
	torc_scope_cancel(&scope);
	close_log();
	check_eq(torc_scope_leave(&scope), -ECANCELED);
	return 0;
}

Test(http_log, loses_nothing_at_the_end_of_a_cancelled_program)
{
	static const char *const any_port[] = { "127.0.0.1:0", NULL };
	struct stage s = { PLAIN, .world.client = ask_many };
	char *text;

	make_directory();
	options.flush_ns = TORC_SECONDS(30);
	s.world.options = (struct torc_http_options){
		.addresses = any_port, .handler = run_stage_steps, .arg = &s, .on_listen = listening
	};
	check_eq(run_with(NULL, close_cancelled, &s), 0);
	text = contents(path);
	expect_whole(text, 600);
	free(text);
	remove_directory();
}

/* A request that is under way when the server is stopped is answered, and logged. */
static int answer_late(struct torc_http_exchange *x, void *arg)
{
	struct world *w = arg;

	w->open++;
	while (!torc_http_is_draining(x))
		check_eq(torc_sleep(TORC_MS(1)), 0);
	return torc_http_respond_text(x, 200, "ok");
}

static struct stage draining;

static void ask_and_leave(struct world *w)
{
	static struct client c;

	dial(w, &c);
	say(&c, GET("/many"));
	while (!w->open)
		check_eq(torc_sleep(TORC_MS(1)), 0);
	hang_up(&c);
}

Test(http_log, logs_what_is_answered_while_the_server_drains)
{
	const struct torc_http_step steps[] = { { torc_http_log_handle, &access_log },
						{ answer_late, &draining.world } };
	char *text;

	make_directory();
	draining = (struct stage){ .steps = steps, .step_count = 2 };
	draining.world.options.let_half_close = true;
	run_logged(&draining, ask_and_leave);
	text = contents(path);
	expect_whole(text, 1);
	free(text);
	remove_directory();
}

static int open_badly(void *arg)
{
	struct torc_http_log log;
	struct torc_scope scope;

	(void)arg;
	check_eq(torc_http_log_open(&log, &(struct torc_http_log_options){ .path = "/none/x" }),
		 -ENOENT);
	check_eq(torc_http_log_open(&log, &(struct torc_http_log_options){ .path = path,
									   .buffer_bytes = 1 }),
		 -EINVAL);
	check_eq(torc_http_log_open(&log, &(struct torc_http_log_options){ .fd = -1 }), -EINVAL);
	torc_scope_enter(&scope, 0);
	check_eq(torc_http_log_open(&log, &options), -ETIMEDOUT);
	check_eq(torc_http_log_open(&log, &(struct torc_http_log_options){ .fd = 2 }), -ETIMEDOUT);
	torc_scope_leave(&scope);
	check_eq(access(path, F_OK), -1);
	return 0;
}

Test(http_log, opens_nothing_that_it_cannot)
{
	make_directory();
	run(open_badly, NULL);
	remove_directory();
}

/* No room for a writer: on its own loop it is told at once, on another one later. */
static int open_without_room(void *arg)
{
	struct torc_http_log log;

	(void)arg;
	check_eq(torc_http_log_open(&log, &options), -EAGAIN);
	return 0;
}

Test(http_log, opens_nothing_without_room_for_a_writer)
{
	struct torc_options few = { .fibers_max = 2 };

	make_directory();
	check_eq(run_with(&few, open_without_room, NULL), 0);
	remove_directory();
}

static int sleeper(void *arg)
{
	(void)arg;
	return torc_sleep(TORC_NEVER);
}

static int open_without_room_elsewhere(void *arg)
{
	struct torc_spawn_options there = { .loop = TORC_ON_LOOP(1) };
	struct torc_group group;
	int r;

	torc_group_enter_supervisor(&group);
	for (int i = 0; i < 8; i++)
		check_eq(torc_group_spawn_with(&group, &there, sleeper, NULL), 0);
	r = open_without_room(arg);
	torc_group_cancel(&group);
	torc_group_wait(&group);
	return r;
}

Test(http_log, opens_nothing_without_room_for_a_writer_of_another_loop)
{
	struct torc_options few = { .fibers_max = 6, .loops = 2, .no_pin = true };

	make_directory();
	check_eq(run_with(&few, open_without_room_elsewhere, NULL), 0);
	remove_directory();
}
