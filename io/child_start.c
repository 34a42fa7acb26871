/*
 * io/child_start.c - all that is prepared for a child before it is born.
 *
 *	the calling fiber	what to run: arguments are checked, environment and places are put together
 *	another thread		with what: descriptors are opened, then the child is launched, and is waited for until it runs
 */
#include "io/internal/child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <torc/core/sys.h>
#include <torc/executor/offload.h>

#include "core/internal/fiber.h"
#include "io/internal/call.h"

#define STREAMS   3
#define FDS_MOST  256
#define MOVES     (STREAMS + FDS_MOST)
#define PATH_ELSE "/bin:/usr/bin"

struct start {
	struct torc__child_plan plan;
	struct torc__child_move moves[MOVES];
	struct torc_child child;
	const char **env; /* to be freed */
	char *paths;
	int theirs[STREAMS + 1]; /* opened for the child, and closed here */
	int theirs_count;
	int slave; /* the terminal; -1: none */
};

/* --- is it all right? --- */

static bool valid_stdio(const struct torc_child_options *o)
{
	return o->in.stream <= TORC_CHILD_PTY && o->in.stream != TORC_CHILD_STDOUT &&
	       o->out.stream <= TORC_CHILD_PTY && o->out.stream != TORC_CHILD_STDOUT &&
	       o->err.stream <= TORC_CHILD_PTY;
}

static bool valid_fds(const struct torc_child_options *o)
{
	if (o->fds_count > FDS_MOST)
		return false;
	for (size_t i = 0; i < o->fds_count; i++) {
		if (o->fds[i].at < STREAMS || o->fds[i].at >= TORC__CHILD_FDS_MOST)
			return false;
		for (size_t j = 0; j < i; j++)
			if (o->fds[i].at == o->fds[j].at)
				return false;
	}
	return true;
}

static bool has_pty(const struct torc_child_options *o)
{
	return o->in.stream == TORC_CHILD_PTY || o->out.stream == TORC_CHILD_PTY ||
	       o->err.stream == TORC_CHILD_PTY;
}

static int check_options(const struct torc_child_options *o)
{
	if (!o->argv || !o->argv[0] || !valid_stdio(o) || !valid_fds(o))
		return -EINVAL;
	if (o->group > TORC_CHILD_GIVEN_GROUP ||
	    (o->group == TORC_CHILD_GIVEN_GROUP && (o->session || has_pty(o))))
		return -EINVAL;
	return 0;
}

/* --- the environment --- */

static size_t count(const char *const *list)
{
	size_t n = 0;

	while (list && list[n])
		n++;
	return n;
}

/* "NAME=value" and "NAME" are about the same name. */
static bool same_name(const char *a, const char *b)
{
	size_t len = strcspn(a, "=");

	return len == strcspn(b, "=") && !memcmp(a, b, len);
}

static bool is_changed(const char *entry, const char *const *changes)
{
	for (; changes && *changes; changes++)
		if (same_name(entry, *changes))
			return true;
	return false;
}

/* The pointers are copied, so that another fiber may change the program's environment meanwhile. */
static int make_env(struct start *s, const struct torc_child_options *o)
{
	const char *const *base = o->env ? o->env : (const char *const *)(uintptr_t)environ;
	const char *const *changes = o->env_changes;
	size_t n = 0;

	s->env = torc__malloc((count(base) + count(changes) + 1) * sizeof(*s->env));
	if (!s->env)
		return -ENOMEM;
	for (; base && *base; base++)
		if (!is_changed(*base, changes))
			s->env[n++] = *base;
	for (; changes && *changes; changes++)
		if (strchr(*changes, '=') && !is_changed(*changes, changes + 1))
			s->env[n++] = *changes;
	s->env[n] = NULL;
	s->plan.env = (char *const *)(uintptr_t)s->env;
	return 0;
}

/* --- where the program may be --- */

static const char *path_of(const char *const *env)
{
	for (; *env; env++)
		if (same_name(*env, "PATH") && strchr(*env, '='))
			return *env + strlen("PATH=");
	return PATH_ELSE;
}

/* "/bin:/usr/bin" and "sort": "/bin/sort", "/usr/bin/sort", "". An empty part is the working directory. */
static void join_paths(char *to, const char *path, const char *name)
{
	for (bool last = false; !last; path++) {
		size_t len = strcspn(path, ":");

		memcpy(to, path, len);
		to += len;
		if (len)
			*to++ = '/';
		to = stpcpy(to, name) + 1;
		path += len;
		last = !*path;
	}
	*to = '\0';
}

static int make_paths(struct start *s, const struct torc_child_options *o)
{
	const char *name = o->path ? o->path : o->argv[0];
	const char *path = strchr(name, '/') ? "" : path_of(s->env);
	size_t parts = 1;

	if (!*name)
		return -ENOENT;
	for (const char *p = path; *p; p++)
		parts += *p == ':';
	s->paths = torc__malloc(strlen(path) + parts * (strlen(name) + 2) + 1);
	if (!s->paths)
		return -ENOMEM;
	join_paths(s->paths, path, name);
	s->plan.paths = s->paths;
	return 0;
}

/* --- descriptors --- */

static void move(struct start *s, int fd, int at)
{
	s->plan.moves[s->plan.moves_count++] = (struct torc__child_move){ fd, at };
}

static int keep(struct start *s, int fd)
{
	s->theirs[s->theirs_count++] = fd;
	return fd;
}

static int open_pipe(struct start *s, int at, int *ret_ours)
{
	int fds[2], r = torc_sys_pipe(fds, 0), theirs = at ? 1 : 0;

	if (r < 0)
		return r;
	*ret_ours = fds[!theirs];
	move(s, keep(s, fds[theirs]), at);
	return 0;
}

/* By the descriptor: its path means nothing in another mount namespace. */
static int open_pty(struct start *s)
{
	int unlocked = 0, fd;

	if (s->slave >= 0)
		return 0;
	fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	s->child.pty = fd;
	if (ioctl(fd, TIOCSPTLCK, &unlocked) < 0)
		return -errno;
	fd = ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	s->slave = keep(s, fd);
	return 0;
}

static int open_null(struct start *s, int at)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	move(s, keep(s, fd), at);
	return 0;
}

/* Wherever `out` leads: it was the last to be arranged. */
static int as_stdout(struct start *s)
{
	size_t n = s->plan.moves_count;
	bool moved = n && s->plan.moves[n - 1].at == STDOUT_FILENO;

	move(s, moved ? s->plan.moves[n - 1].fd : STDOUT_FILENO, STDERR_FILENO);
	return 0;
}

static int open_stream(struct start *s, const struct torc_child_stdio *stdio, int at, int *ret_ours)
{
	int r = 0;

	switch (stdio->stream) {
	case TORC_CHILD_INHERIT: return 0;
	case TORC_CHILD_NULL: return open_null(s, at);
	case TORC_CHILD_PIPE: return open_pipe(s, at, ret_ours);
	case TORC_CHILD_FD: move(s, stdio->fd, at); return 0;
	case TORC_CHILD_STDOUT: return as_stdout(s);
	case TORC_CHILD_PTY:
		r = open_pty(s);
		if (!r) {
			move(s, s->slave, at);
			s->plan.terminal = at;
		}
	}
	return r;
}

static int open_all(struct start *s)
{
	const struct torc_child_options *o = s->plan.options;
	int r = open_stream(s, &o->in, STDIN_FILENO, &s->child.in);

	if (!r)
		r = open_stream(s, &o->out, STDOUT_FILENO, &s->child.out);
	if (!r)
		r = open_stream(s, &o->err, STDERR_FILENO, &s->child.err);
	for (size_t i = 0; i < o->fds_count && !r; i++)
		move(s, o->fds[i].fd, o->fds[i].at);
	return r;
}

static void close_ours(struct torc_child *c)
{
	int *fds[] = { &c->in, &c->out, &c->err, &c->pty };

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (*fds[i] >= 0)
			torc_sys_close(*fds[i]);
		*fds[i] = -1;
	}
}

/* --- start --- */

static void begin(struct torc_child *c)
{
	*c = (struct torc_child){ .pidfd = -1, .in = -1, .out = -1, .err = -1, .pty = -1 };
}

/* On another thread. */
static int launch(void *arg)
{
	struct start *s = arg;
	int r = open_all(s);

	if (r < 0)
		s->plan.failed = "open";
	else
		r = torc__child_launch(&s->plan, &s->child.pid, &s->child.pidfd);
	while (s->theirs_count)
		torc_sys_close(s->theirs[--s->theirs_count]);
	if (r < 0)
		close_ours(&s->child);
	return r;
}

static int prepare(struct start *s, const struct torc_child_options *o)
{
	int r = check_options(o);

	begin(&s->child);
	s->slave = -1;
	s->env = NULL;
	s->paths = NULL;
	s->theirs_count = 0;
	s->plan = (struct torc__child_plan){ .options = o,
					     .moves = s->moves,
					     .terminal = -1,
					     .failed = "options",
					     .session = o->session || has_pty(o) };
	s->child.leads_group = s->plan.session || o->group == TORC_CHILD_NEW_GROUP;
	if (!r)
		r = make_env(s, o);
	return r ? r : make_paths(s, o);
}

static int start(struct start *s, struct torc_child *c, const struct torc_child_options *o)
{
	int r = prepare(s, o);

	if (!r) {
		s->plan.failed = "thread";
		r = torc_offload(launch, s);
	}
	if (r < 0)
		c->failed = s->plan.failed;
	else
		*c = s->child;
	torc__free(s->env);
	torc__free(s->paths);
	return r;
}

int torc_child_start(struct torc_child *c, const struct torc_child_options *o)
{
	struct start *s;
	int r = torc__scope_check(torc__self());

	begin(c);
	c->failed = "start";
	if (r < 0)
		return r;
	if (!torc__on_linux())
		return -ENOSYS;
	s = torc__malloc(sizeof(*s)); /* too large for a small stack */
	if (!s)
		return -ENOMEM;
	r = start(s, c, o);
	torc__free(s);
	return r;
}
