#include "tests/io/serve.h"

#include <sys/wait.h>

#include <torc/io/unix.h>

TestSuite(handover, .timeout = 60);

/* Paths of one test; groups are left in the reverse order, so instances are joined newest first. */
static char place[64], web_path[64], web[80];

static void make_paths(void)
{
	snprintf(place, sizeof(place), "/tmp/torc-handover-%d", getpid());
	snprintf(web_path, sizeof(web_path), "/tmp/torc-handover-web-%d", getpid());
	snprintf(web, sizeof(web), "unix:%s", web_path);
	unlink(place);
	unlink(web_path);
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

/* With what one server at the places has; TCP first, then Unix. */
static struct instance at_place(void)
{
	return (struct instance){
		.options = { .handover = place, .grace_ns = TORC_MS(50) },
		.addresses = { "127.0.0.1:0", web },
	};
}

static bool has_path(void)
{
	char address[TORC_ADDRESS_MAX];
	int fd;

	snprintf(address, sizeof(address), "unixpacket:%s", place);
	fd = torc_dial(address);
	if (fd >= 0)
		torc_close(fd);
	return fd >= 0;
}

static void start_first(struct instance *in)
{
	start_instance(in);
	while (!has_path())
		torc_yield();
}

/* The old one has been told to end, by the next one. */
static void end_both(struct instance *old, struct instance *next)
{
	stop_instance(next);
	join_instance(old, 0);
}

static void check_serves(const struct instance *in)
{
	for (int i = 0; i < in->bound_count; i++) {
		int fd = dial_instance(in, i);

		ping(fd);
		torc_close(fd);
	}
}

/* --- two servers --- */

struct servers {
	struct instance a, b;
};

static int second_main(void *arg)
{
	struct servers *s = arg;
	int tcp = dial_instance(&s->a, 0), local = dial_instance(&s->a, 1);

	ping(tcp);
	ping(local);
	s->b = at_place();
	start_instance(&s->b);
	check_eq(s->b.bound_count, 2);
	check(!strcmp(s->b.bound[0], s->a.bound[0])); /* port 0 is the same one */
	ping(tcp);
	await_instance(&s->a);
	check_eq(s->a.result, 0);
	expect_end(tcp);
	expect_end(local);
	check(exists(web_path));
	check_serves(&s->b);
	check_eq(s->b.error_count, 0);
	stop_instance(&s->b);
	check(!exists(web_path) && !exists(place));
	return 0;
}

static int second(void *arg)
{
	static struct servers s;
	struct torc_group g;

	(void)arg;
	make_paths();
	s = (struct servers){ .a = at_place() };
	start_first(&s.a);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, second_main, &s), 0);
	check_eq(torc_group_wait(&g), 0);
	join_instance(&s.a, 0);
	return 0;
}

Test(handover, the_next_server_has_the_same_ports_and_files_and_the_old_one_returns)
{
	run_all_features(NULL, second, NULL);
	check_eq(run_with(&loops3, second, NULL), 0);
}

static int queue(void *arg)
{
	enum { WAITING = 40 };
	struct instance a = at_place(), b = at_place();
	int client[WAITING], first;

	(void)arg;
	make_paths();
	a.options.connections_max = 1;
	a.options.grace_ns = TORC_SECONDS(20);
	start_first(&a);
	ping(first = dial_instance(&a, 1));
	for (int i = 0; i < WAITING; i++)
		check_eq(torc_send(client[i] = dial_instance(&a, 0), "x", 1, 0), 1);
	start_instance(&b);
	torc_close(first);
	/* In the old one's turn, when it has accepted them already, or by the next one. */
	take_turns(&a, client, WAITING, torc_loop_count());
	end_both(&a, &b);
	return 0;
}

Test(handover, connections_that_wait_to_be_accepted_are_served)
{
	run_with_loops(queue, NULL);
}

static int other_addresses(void *arg)
{
	struct instance a = at_place(), b = at_place();

	(void)arg;
	make_paths();
	start_first(&a);
	b.addresses[0] = "localhost:0"; /* not the address as it is written */
	b.addresses[1] = NULL;
	start_instance(&b);
	await_instance(&a);
	while (has_path() && exists(web_path))
		torc_yield();
	check_eq(b.bound_count, 1);
	check(strcmp(b.bound[0], a.bound[0]) != 0);
	check_serves(&b);
	check_eq(torc_dial(a.bound[0]), -ECONNREFUSED);
	check_eq(torc_dial(a.bound[1]), -ENOENT); /* and not a file without a server */
	end_both(&a, &b);
	return 0;
}

Test(handover, what_the_next_one_does_not_want_is_closed_and_what_it_wants_is_opened)
{
	run_with_loops(other_addresses, NULL);
}

/* A socket that the first one was started with: its file is not a server's to remove. */
static int inherited(void *arg)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct instance first = at_place(), next = at_place();
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char address[32];

	(void)arg;
	make_paths();
	strcpy(a.sun_path, web_path);
	check_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	check_eq(listen(fd, 10), 0);
	snprintf(address, sizeof(address), "fd:%d", fd);
	first.addresses[1] = next.addresses[1] = address;
	start_first(&first);
	close(fd); /* the next one has it from the first one only */
	start_instance(&next);
	await_instance(&first);
	check_serves(&next);
	end_both(&first, &next);
	check(exists(web_path));
	unlink(web_path);
	return 0;
}

Test(handover, inherited_sockets_are_handed_over_and_their_files_stay)
{
	run_with_loops(inherited, NULL);
}

static int two_at_once(void *arg)
{
	struct instance a = at_place(), b = at_place(), c = at_place();

	(void)arg;
	make_paths();
	start_first(&a);
	launch_instance(&b);
	launch_instance(&c);
	while (!b.ended && !c.ended)
		check_eq(torc_sleep(TORC_MS(1)), 0);
	await_instance(&a);
	check_serves(b.ended ? &c : &b);
	check(has_path());
	torc_task_cancel(&c.task);
	join_instance(&c, 0);
	torc_task_cancel(&b.task);
	join_instance(&b, 0);
	join_instance(&a, 0);
	check(!exists(place) && !exists(web_path));
	return 0;
}

Test(handover, of_two_that_come_at_once_one_serves_in_the_end)
{
	run_with_loops(two_at_once, NULL);
}

/* --- the gentle end --- */

static int gently(void *arg)
{
	struct instance a = at_place(), b = at_place();
	uint64_t begin;
	int fd;

	(void)arg;
	make_paths();
	a.options.grace_ns = TORC_MS(200);
	start_first(&a);
	ping(fd = dial_instance(&a, 0));
	begin = torc_now_ns();
	start_instance(&b);
	while (!exists(place) || torc_now_ns() - begin < TORC_MS(50))
		check_eq(torc_sleep(TORC_MS(1)), 0);
	ping(fd); /* an idle connection goes on */
	await_instance(&a);
	check_ge(torc_now_ns() - begin, TORC_MS(199));
	expect_end(fd);
	end_both(&a, &b);
	return 0;
}

Test(handover, idle_connections_of_the_old_one_go_on_for_the_grace_period)
{
	run_with_loops(gently, NULL);
}

static int in_a_hurry(void *arg)
{
	struct instance a = at_place(), b = at_place();
	uint64_t begin = torc_now_ns();
	int fd, refused;

	(void)arg;
	make_paths();
	a.options.grace_ns = TORC_SECONDS(20);
	start_first(&a);
	ping(fd = dial_instance(&a, 0));
	start_instance(&b);
	do { /* until the old one takes no more, and drains gently */
		int other = dial_instance(&b, 0);

		ping(other);
		torc_close(other);
		refused = b.started;
	} while (refused < 3);
	check(!a.ended);
	ping(fd);
	torc_task_cancel(&a.task);
	expect_end(fd);
	await_instance(&a);
	check_lt(torc_now_ns() - begin, TORC_SECONDS(10));
	check_serves(&b);
	check(exists(web_path) && exists(place));
	end_both(&a, &b);
	return 0;
}

Test(handover, a_cancellation_in_the_grace_period_ends_it)
{
	run_with_loops(in_a_hurry, NULL);
}

/* --- the new one, played by hand --- */

static int knock(void)
{
	char address[TORC_ADDRESS_MAX];
	int fd;

	snprintf(address, sizeof(address), "unixpacket:%s", place);
	fd = torc_dial(address);
	check_ge(fd, 0);
	return fd;
}

static void say(int fd, const char *text)
{
	check_eq(torc_send(fd, text, strlen(text), 0), (int)strlen(text));
}

/* What one record is; *ret_fd is -1 without a descriptor. */
static int hear(int fd, char text[512], int *ret_fd)
{
	unsigned count;
	int r;

	*ret_fd = -1;
	r = torc_recv_fds(fd, text, 511, ret_fd, 1, &count);
	text[r > 0 ? r : 0] = '\0';
	return r;
}

/* Returns how many sockets there were; they are closed but for up to `keep` of them. */
static int take_all(int peer, int *kept, int keep)
{
	char text[512];
	int n = 0, fd;

	say(peer, "torc handover 1");
	for (;;) {
		check_ge(hear(peer, text, &fd), 1);
		if (!strcmp(text, "end"))
			return n;
		check(!strncmp(text, "listen ", 7) && fd >= 0);
		if (n < keep)
			kept[n] = fd;
		else
			close(fd);
		n++;
	}
}

/* Each of them goes wrong at another step. */
static void goes_at_once(int peer)
{
	(void)peer;
}

static void goes_after_hello(int peer)
{
	say(peer, "torc handover 1");
}

static void goes_with_the_sockets(int peer)
{
	check_ge(take_all(peer, NULL, 0), 1);
}

static void says_something_else(int peer)
{
	say(peer, "GET / HTTP/1.1");
}

static void says_very_much(int peer)
{
	static char much[4096];

	memset(much, 'x', sizeof(much) - 1);
	say(peer, much);
}

static void sends_descriptors(int peer)
{
	int fds[8];

	for (int i = 0; i < 8; i++)
		fds[i] = peer;
	check_ge(torc_send_fds(peer, "torc handover 1", 15, fds, 8), 1);
}

static void has_other_news(int peer)
{
	take_all(peer, NULL, 0);
	say(peer, "not ready");
}

static void speaks_too_early(int peer)
{
	char text[512];
	int fd;

	say(peer, "ready");
	(void)!hear(peer, text, &fd);
}

/* Until the old one is through with it. */
static void is_silent(int peer)
{
	char byte;

	check_eq(torc_recv(peer, &byte, 1, 0), 0);
}

static int bad_successors(void *arg)
{
	static void (*const steps[])(int peer) = {
		goes_at_once,        goes_after_hello, goes_with_the_sockets,
		says_something_else, says_very_much,   sends_descriptors,
		has_other_news,      speaks_too_early, is_silent,
	};
	struct instance a = at_place(), b = at_place();

	(void)arg;
	make_paths();
	start_first(&a);
	for (size_t i = 0; i < COUNT(steps); i++) {
		int peer = knock();

		steps[i](peer);
		torc_close(peer);
		check_serves(&a);
		check(!a.ended);
	}
	start_instance(&b);
	await_instance(&a);
	check_serves(&b);
	end_both(&a, &b);
	return 0;
}

Test(handover, a_new_process_that_fails_at_any_step_harms_nobody)
{
	run_with_loops(bad_successors, NULL);
}

static int failed_then_stopped(void *arg)
{
	struct instance a = at_place();
	char text[512];
	int peer, fd;

	(void)arg;
	make_paths();
	start_first(&a);
	peer = knock();
	take_all(peer, NULL, 0);
	torc_close(peer);
	peer = knock(); /* who is heard when that one has been given up */
	say(peer, "nonsense");
	check_le(hear(peer, text, &fd), 0);
	torc_close(peer);
	stop_instance(&a);
	check(!exists(web_path) && !exists(place));
	return 0;
}

Test(handover, after_one_that_failed_the_files_are_the_old_ones_again)
{
	run(failed_then_stopped, NULL);
}

/* SIGTERM while the new one has the sockets, and has not said yet that it serves. */
static int stopped_meanwhile(void *arg)
{
	struct instance a = at_place();
	char text[512];
	int peer, fd, kept[8], n, client, accepted = -1;

	(void)arg;
	make_paths();
	start_first(&a);
	peer = knock();
	n = take_all(peer, kept, 8);
	check_ge(n, 2);
	stop_instance(&a);
	check_le(hear(peer, text, &fd), 0);
	check(exists(web_path)); /* the new one's now */
	client = torc_dial(web);
	check_ge(client, 0);
	for (int i = 0; i < n && i < 8; i++) {
		struct pollfd p = { .fd = kept[i], .events = POLLIN };

		if (poll(&p, 1, 0) == 1)
			accepted = accept4(kept[i], NULL, NULL, SOCK_CLOEXEC);
		close(kept[i]);
	}
	check_ge(accepted, 0);
	close(accepted);
	torc_close(client);
	torc_close(peer);
	unlink(web_path);
	unlink(place);
	return 0;
}

Test(handover, an_old_one_that_is_stopped_meanwhile_leaves_the_files_to_the_new_one)
{
	run_with_loops(stopped_meanwhile, NULL);
}

/* Who asks while another one has the path already is sent there, not kept waiting for the old one's end. */
static int asks_late(void *arg)
{
	struct instance a = at_place();
	char text[512];
	int peer, late, client, fd;
	uint64_t begin = torc_now_ns();

	(void)arg;
	make_paths();
	a.options.grace_ns = TORC_SECONDS(20);
	start_first(&a);
	ping(client = dial_instance(&a, 0));
	peer = knock();
	late = knock();
	take_all(peer, NULL, 0);
	say(peer, "ready");
	check_ge(hear(peer, text, &fd), 1);
	check(!strcmp(text, "bye"));
	torc_close(peer);
	check_le(hear(late, text, &fd), 0);
	torc_close(late);
	check(!a.ended && torc_now_ns() - begin < TORC_SECONDS(10));
	torc_close(client);
	join_instance(&a, 0);
	check(exists(web_path) &&
	      exists(place)); /* what is at them is not the old one's any more */
	unlink(web_path);
	unlink(place);
	return 0;
}

Test(handover, the_old_one_leaves_the_path_before_it_drains)
{
	run_with_loops(asks_late, NULL);
}

/* --- the old one, played by hand --- */

struct old {
	struct torc_listener at, tcp;
	void (*play)(struct old *old, int peer);
	int steps;
	bool keeps_path; /* until the end of the test */
};

static int old_main(void *arg)
{
	struct old *o = arg;

	for (int i = 0; i < o->steps; i++) {
		int peer = torc_accept(&o->at);

		if (peer < 0)
			return 0;
		o->play(o, peer);
		torc_close(peer);
	}
	o->at.inherited =
		true; /* the file stays: it was killed, or the path is not its own any more */
	if (!o->keeps_path)
		torc_listener_close(&o->at);
	return 0;
}

/* Nothing but this, if anything. */
static void hear_text(int peer, const char *wanted)
{
	char text[512];
	int fd;

	if (hear(peer, text, &fd) > 0)
		check(!strcmp(text, wanted));
}

/* The other one may have gone, or the test may be over. */
static void answer(int peer, const char *text)
{
	int r = torc_send(peer, text, strlen(text), 0);

	check(r == (int)strlen(text) || r == -ECANCELED || r == -EPIPE);
}

static void give(int peer, const char *text, int fd)
{
	int r = torc_send_fds(peer, text, strlen(text), &fd, 1);

	check(r == (int)strlen(text) || r == -ECANCELED || r == -EPIPE);
}

static void dies_at_once(struct old *o, int peer)
{
	(void)o;
	(void)peer;
}

static void dies_amid_the_sockets(struct old *o, int peer)
{
	hear_text(peer, "torc handover 1");
	give(peer, "listen 127.0.0.1:0", o->tcp.fd);
}

static void dies_before_ready(struct old *o, int peer)
{
	dies_amid_the_sockets(o, peer);
	answer(peer, "end");
}

static void dies_before_bye(struct old *o, int peer)
{
	dies_before_ready(o, peer);
	hear_text(peer, "ready");
}

static void is_no_server(struct old *o, int peer)
{
	(void)o;
	answer(peer, "220 mail.example ESMTP");
}

static void gives_a_pipe(struct old *o, int peer)
{
	int pair[2];

	hear_text(peer, "torc handover 1");
	check_eq(torc_unix_pair(SOCK_STREAM, pair), 0);
	give(peer, "listen 127.0.0.1:0", pair[0]);
	torc_close(pair[0]);
	torc_close(pair[1]);
	answer(peer, "end");
	(void)o;
}

static void gives_a_stranger(struct old *o, int peer)
{
	hear_text(peer, "torc handover 1");
	give(peer, "take this", o->tcp.fd);
}

static void gives_two(struct old *o, int peer)
{
	int fds[2] = { o->tcp.fd, o->tcp.fd };

	hear_text(peer, "torc handover 1");
	(void)!torc_send_fds(peer, "listen 127.0.0.1:0", 18, fds, 2);
}

static void gives_more_than_is_wanted(struct old *o, int peer)
{
	hear_text(peer, "torc handover 1");
	for (int i = 0; i < 5; i++)
		give(peer, "listen 127.0.0.1:0", o->tcp.fd);
	give(peer, "listen 127.0.0.1:1", o->tcp.fd);
	answer(peer, "end");
	hear_text(peer, "ready");
	answer(peer, "bye");
}

static void begin_old(struct old *o, struct torc_group *g)
{
	char address[TORC_ADDRESS_MAX];

	make_paths();
	snprintf(address, sizeof(address), "unixpacket:%s", place);
	check_eq(torc_listen(&o->at, address, NULL), 0);
	check_eq(torc_listen(&o->tcp, "127.0.0.1:0", NULL), 0);
	torc_group_enter(g);
	check_eq(torc_group_spawn(g, old_main, o), 0);
}

static void end_old(struct old *o, struct torc_group *g)
{
	torc_group_cancel(g);
	check_eq(torc_group_wait(g), 0);
	if (o->keeps_path)
		torc_listener_close(&o->at);
	torc_listener_close(&o->tcp);
	unlink(place);
}

/* It had as many loops, each with a socket of its own. */
enum { OLD_LOOPS = 5 };

static struct torc_listener of_loop[OLD_LOOPS];

static void had_many_loops(struct old *o, int peer)
{
	(void)o;
	hear_text(peer, "torc handover 1");
	for (int i = 0; i < OLD_LOOPS; i++)
		give(peer, "listen 127.0.0.1:0", of_loop[i].fd);
	answer(peer, "end");
	hear_text(peer, "ready");
	answer(peer, "bye");
}

static int fewer_loops(void *arg)
{
	struct old o = { .play = had_many_loops, .steps = 1 };
	struct instance b = at_place();
	struct torc_group g;
	int fd;

	(void)arg;
	b.addresses[1] = NULL;
	begin_old(&o, &g);
	for (int i = 0; i < OLD_LOOPS; i++)
		check_eq(torc_listen(&of_loop[i], "127.0.0.1:0", NULL), 0);
	start_first(&b);
	for (int i = 0; i < OLD_LOOPS; i++) { /* they are told apart by their ports here */
		check_ge(fd = torc_dial(of_loop[i].address), 0);
		ping(fd);
		torc_close(fd);
	}
	stop_instance(&b);
	for (int i = 0; i < OLD_LOOPS; i++)
		torc_listener_close(&of_loop[i]);
	end_old(&o, &g);
	return 0;
}

Test(handover, with_fewer_loops_than_before_each_socket_is_still_served)
{
	run_with_loops(fewer_loops, NULL);
}

struct end_of_old {
	void (*play)(struct old *old, int peer);
	bool keeps_path;
	int result;     /* 0: the new one serves */
	bool same_port; /* on the sockets that it was given */
};

static int old_ends(void *arg)
{
	static const struct end_of_old cases[] = {
		{ dies_at_once, false, 0, false },
		{ dies_amid_the_sockets, false, 0, false },
		{ dies_before_ready, false, 0, true },
		{ dies_before_bye, false, 0, true },
		{ gives_more_than_is_wanted, false, 0, true },
		{ dies_at_once, true, -EAGAIN, false },
		{ dies_before_ready, true, -EAGAIN, false },
		{ dies_before_bye, true, -EAGAIN, false },
		{ is_no_server, true, -EPROTO, false },
		{ gives_a_pipe, true, -EPROTO, false },
		{ gives_a_stranger, true, -EPROTO, false },
		{ gives_two, true, -ETOOMANYREFS, false },
	};

	(void)arg;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct end_of_old *c = &cases[i];
		struct old o = { .play = c->play,
				 .steps = c->keeps_path ? 100 : 1,
				 .keeps_path = c->keeps_path };
		struct instance b = at_place();
		struct torc_group g;

		b.addresses[1] = NULL;
		begin_old(&o, &g);
		start_instance(&b);
		if (c->result) {
			join_instance(&b, c->result);
			check_eq(b.error_count, 1);
			check_eq(b.last_error, c->result);
		} else {
			check(!b.ended);
			check_eq(!strcmp(b.bound[0], o.tcp.address), c->same_port);
			check_serves(&b);
			while (!has_path())
				torc_yield();
			stop_instance(&b);
			check_eq(b.error_count, 0);
		}
		end_old(&o, &g);
	}
	return 0;
}

Test(handover, an_old_process_that_fails_at_any_step_is_followed_or_refused)
{
	run_with_loops(old_ends, NULL);
}

static void says_nothing(struct old *o, int peer)
{
	char byte;

	(void)o;
	while (torc_recv(peer, &byte, 1, 0) > 0)
		;
}

static int cancelled_while_asking(void *arg)
{
	struct old o = { .play = says_nothing, .steps = 2, .keeps_path = true };
	struct instance b = at_place();
	struct torc_group g;
	struct torc_scope t;

	(void)arg;
	begin_old(&o, &g);
	torc_scope_enter(&t, TORC_MS(20));
	start_instance(&b);
	check_eq(torc_group_wait(&b.group), -ETIMEDOUT);
	torc_scope_leave(&t);
	check_eq(b.result, -ETIMEDOUT);
	check_eq(b.error_count, 0); /* that is none */
	b = at_place();
	launch_instance(&b);
	check_eq(torc_sleep(TORC_MS(10)), 0);
	stop_instance(&b);
	check_eq(b.error_count + b.bound_count, 0);
	end_old(&o, &g);
	return 0;
}

Test(handover, a_new_one_can_be_cancelled_while_it_asks)
{
	run(cancelled_while_asking, NULL);
}

static int silent(void *arg)
{
	struct old o = { .play = says_nothing, .steps = 2, .keeps_path = true };
	struct instance b = at_place();
	struct torc_group g;

	(void)arg;
	begin_old(&o, &g);
	start_instance(&b);
	join_instance(&b, -EAGAIN);
	check_eq(b.last_error, -EAGAIN);
	end_old(&o, &g);
	return 0;
}

Test(handover, one_that_does_not_answer_is_not_waited_for_for_ever)
{
	run(silent, NULL);
}

/* --- what is in the way --- */

static void check_refused(const char *path, int error)
{
	struct instance b = { .options = { .handover = path } };

	start_instance(&b);
	join_instance(&b, error);
	check_eq(b.error_count, 1);
	check_eq(b.last_error, error);
	check_eq(b.bound_count, 0);
}

static int in_the_way(void *arg)
{
	char longest[200], buf[8] = "";
	int fd;

	(void)arg;
	make_paths();
	fd = open(place, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	check_eq(write(fd, "precious", 8), 8);
	check_refused(place, -ENOTSOCK);
	check_eq(pread(fd, buf, 8, 0), 8);
	check(!memcmp(buf, "precious", 8) && exists(place));
	close(fd);
	unlink(place);
	check_refused("/tmp", -ENOTSOCK);
	check_refused("", -EINVAL);
	check_refused("@abstract", -EINVAL);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	check_refused(longest, -ENAMETOOLONG);
	return 0;
}

Test(handover, what_is_no_socket_is_left_alone)
{
	run(in_the_way, NULL);
}

static int no_directory(void *arg)
{
	struct instance b = { .options = { .handover = "/nowhere/handover" } };

	(void)arg;
	start_instance(&b);
	check_eq(torc_group_wait(&b.group), 0);
	check_eq(b.result, -ENOENT);
	check_eq(b.error_count, 1);
	return 0;
}

Test(handover, a_path_that_cannot_be_made_is_an_error)
{
	run(no_directory, NULL);
}

/* A file that nobody listens on is no obstacle. */
static int stale(void *arg)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct instance b = at_place();
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	(void)arg;
	make_paths();
	strcpy(a.sun_path, place);
	check_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	check_eq(listen(fd, 1), 0);
	close(fd);
	start_first(&b);
	check_serves(&b);
	stop_instance(&b);
	check(!exists(place));
	return 0;
}

Test(handover, the_file_of_one_that_was_killed_is_replaced)
{
	run(stale, NULL);
}

/* --- few descriptors: the old one is another process --- */

static void give_many(int ready)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct sockaddr_in any;
	char hello[64];
	int at = socket(AF_UNIX, SOCK_SEQPACKET, 0), tcp = bound_socket(&any), peer;

	strcpy(a.sun_path, place);
	if (bind(at, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(at, 1) < 0 ||
	    listen(tcp, 1) < 0 || write(ready, "x", 1) != 1)
		_exit(1);
	peer = accept(at, NULL, NULL);
	if (read(peer, hello, sizeof(hello)) <= 0)
		_exit(1);
	for (int i = 0; i < 64; i++) {
		union {
			struct cmsghdr header;
			char bytes[CMSG_SPACE(sizeof(int))];
		} control = { .header = { .cmsg_len = CMSG_LEN(sizeof(int)),
					  .cmsg_level = SOL_SOCKET,
					  .cmsg_type = SCM_RIGHTS } };
		struct iovec iov = { (void *)(uintptr_t) "listen 127.0.0.1:0", 18 };
		struct msghdr m = { .msg_iov = &iov,
				    .msg_iovlen = 1,
				    .msg_control = &control,
				    .msg_controllen = sizeof(control) };

		memcpy(CMSG_DATA(&control.header), &tcp, sizeof(tcp));
		if (sendmsg(peer, &m, MSG_NOSIGNAL) < 0)
			_exit(0); /* it has given up, as it should */
	}
	_exit(read(peer, hello, sizeof(hello)) > 0);
}

static int few_descriptors(void *arg)
{
	struct rlimit before = spare_descriptors(12);

	(void)arg;
	check_refused(place, -EMFILE);
	check_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	return 0;
}

Test(handover, more_sockets_than_there_is_room_for_are_an_error)
{
	int ready[2];
	char byte;
	pid_t child;

	make_paths();
	check_eq(pipe2(ready, O_CLOEXEC), 0);
	child = fork();
	if (!child)
		give_many(ready[1]);
	check_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	run(few_descriptors, NULL);
	check_eq(waitpid(child, NULL, 0), child);
	unlink(place);
}
