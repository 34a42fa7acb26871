/*
 * What the dump says of fibers that wait for connections and for their bytes.
 */
#include "tests/io/run.h"

#include "tests/support/dump.h"

TestSuite(dump, .timeout = 60);

static void expect_in_dump(const char *what)
{
	char *text = dump_text();

	if (!strstr(text, what)) {
		fprintf(stderr, "expected \"%s\" in:\n%s\n", what, text);
		abort();
	}
	free(text);
}

static int read_stream(void *arg)
{
	struct torc_slice view;

	return torc_stream_peek(arg, &view) < 0 ? 0 : -EIO;
}

static int write_stream(void *arg)
{
	static const char bytes[16000];
	int r;

	while (!(r = torc_stream_write(arg, bytes, sizeof(bytes))))
		;
	return r == -ECANCELED ? 0 : -EIO;
}

static int accept_one(void *arg)
{
	return torc_accept(arg) == -ECANCELED ? 0 : -EIO;
}

static int wait_in_all(void *arg)
{
	struct torc_stream reading, writing;
	struct torc_listener listener;
	struct torc_group g;
	char what[256];
	int a[2], b[2];

	(void)arg;
	check_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, a), 0);
	check_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b), 0);
	check_eq(torc_stream_open(&reading, a[0]), 0);
	check_eq(torc_stream_open(&writing, b[0]), 0);
	check_eq(torc_listen(&listener, "127.0.0.1:0", NULL), 0);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, read_stream, &reading), 0);
	check_eq(torc_group_spawn(&g, write_stream, &writing), 0);
	check_eq(torc_group_spawn(&g, accept_one, &listener), 0);
	while (!reading.rx_wait || !writing.tx_wait || !listener.waiter)
		check_eq(torc_yield(), 0);
	snprintf(what, sizeof(what), ": waiting for stream read of fd %d; for ", a[0]);
	expect_in_dump(what);
	snprintf(what, sizeof(what), ": waiting for stream write of fd %d, unsent bytes ", b[0]);
	expect_in_dump(what);
	snprintf(what, sizeof(what), ": waiting for accept on %s, fd %d; for ", listener.address,
		 listener.fd);
	expect_in_dump(what);
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), 0);
	torc_listener_close(&listener);
	torc_stream_close(&reading);
	close(b[1]);
	torc_stream_close(&writing);
	close(a[1]);
	return 0;
}

Test(dump, names_the_descriptor_and_the_address)
{
	cr_assert_eq(torc_run(NULL, wait_in_all, NULL), 0);
}
