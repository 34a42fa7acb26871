/*
 * fileserver - serves the files below a directory over a Unix socket. A line "GET name" is answered by "OK size" and the
 * contents, or by "ERR why"; any number of them on one connection. SIGTERM or ^C lets transfers end.
 *
 *	build/examples/fileserver unix:/tmp/files /usr/share/doc
 *	echo GET bash/README | nc -NU /tmp/files
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>

#include <torc/torc.h>

#define LINE_MOST 4096

/* A client that neither asks nor takes what it has asked for is not waited for. */
#define WAIT_NS TORC_SECONDS(60)

static int answer(struct torc_stream *s, const char *text)
{
	return torc_stream_write(s, text, strlen(text));
}

static int refuse(struct torc_stream *s, int error)
{
	char text[128];

	snprintf(text, sizeof(text), "ERR %s\n", strerror(-error));
	return answer(s, text);
}

/* Nothing outside of the directory, whatever links there are; and no waiting for the other end of a named pipe. */
static int open_below(int dir, const char *name, struct statx *ret_stat)
{
	const struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	int r, fd = torc_openat2(dir, name, &how);

	if (fd < 0)
		return fd;
	r = torc_statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_SIZE, ret_stat);
	if (r == 0 && !S_ISREG(ret_stat->stx_mode))
		r = S_ISDIR(ret_stat->stx_mode) ? -EISDIR : -EACCES;
	if (r == 0)
		return fd;
	torc_close(fd);
	return r;
}

/* What was announced has to come: from a file that has become shorter there is nothing but to hang up. */
static int send_contents(struct torc_stream *s, int fd, uint64_t size)
{
	struct torc_stream file;
	uint64_t copied;
	int r = torc_stream_open_fds(&file, fd, -1);

	if (r < 0) {
		torc_close(fd);
		return r;
	}
	r = torc_stream_copy(s, &file, size, &copied);
	torc_stream_close(&file);
	return r < 0 ? r : copied < size ? -EIO : 0;
}

static int get(struct torc_stream *s, int dir, const char *name)
{
	struct statx st;
	char text[64];
	int r, fd = open_below(dir, name, &st);

	if (fd < 0)
		return fd == -ECANCELED ? fd : refuse(s, fd);
	snprintf(text, sizeof(text), "OK %" PRIu64 "\n", (uint64_t)st.stx_size);
	r = answer(s, text);
	if (r < 0) {
		torc_close(fd);
		return r;
	}
	return send_contents(s, fd, st.stx_size);
}

static int serve(struct torc_stream *s, void *arg)
{
	const int *dir = arg;
	char line[LINE_MOST + 1];
	struct torc_slice view;
	int r;

	while ((r = torc_stream_read_line(s, LINE_MOST, &view)) > 0) {
		memcpy(line, view.data, view.len);
		line[view.len] = '\0';
		torc_stream_set_busy(
			s, true); /* what was asked for is sent, also when the server ends */
		if (strlen(line) != view.len || strncmp(line, "GET ", 4) != 0)
			r = answer(s, "ERR what?\n");
		else
			r = get(s, *dir, line + 4);
		torc_stream_set_busy(s, false);
		if (r < 0)
			return r;
	}
	return r == -EMSGSIZE ? answer(s, "ERR too long\n") : r;
}

static void tell(const char *address, void *arg)
{
	(void)arg;
	fprintf(stderr, "fileserver: on %s\n", address);
}

static int app(void *arg)
{
	char **args = arg;
	int r, dir = torc_open(args[1], O_RDONLY | O_DIRECTORY, 0);
	const struct torc_serve_options options = {
		.addresses = (const char *const[]){ args[0], NULL },
		.handler = serve,
		.arg = &dir,
		.read_ns = WAIT_NS,
		.write_ns = WAIT_NS,
		.on_listen = tell,
	};

	if (dir < 0)
		return dir;
	r = torc_serve_with(&options);
	torc_close(dir);
	return r;
}

int main(int argc, char **argv)
{
	int r;

	if (argc != 3) {
		fprintf(stderr, "Usage: fileserver ADDRESS DIRECTORY\n");
		return 2;
	}
	r = torc_run(NULL, app, argv + 1);
	if (r < 0)
		fprintf(stderr, "fileserver: %s\n", strerror(-r));
	return r < 0;
}
