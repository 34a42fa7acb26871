#include <torc/io/activation.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <torc/core/sys.h>

#include "io/internal/activation.h"
#include "io/internal/call.h"

/* Where the protocol begins. */
#define FIRST_FD 3

/* A name is as long as that at most. */
#define NAME_MAX_BYTES 255

static struct {
	pthread_once_t once;
	pthread_mutex_t mutex;
	int error;
	unsigned count;
	bool taken;
	char *names; /* with a zero byte behind each; NULL: they have none */
	const char *name[TORC_ACTIVATION_MAX];
} given = { .once = PTHREAD_ONCE_INIT, .mutex = PTHREAD_MUTEX_INITIALIZER };

/* Decimal digits only, and no more than `most`. */
static int read_number(const char *text, long most)
{
	long number = 0;

	if (!*text || strlen(text) > 10)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		number = number * 10 + (*text - '0');
	}
	return number <= most ? (int)number : -EINVAL;
}

static bool is_name(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (name[i] < ' ' || name[i] > '~')
			return false;
	return len <= NAME_MAX_BYTES;
}

/* As many names as descriptors, which may be empty. */
static int split_names(char *names)
{
	for (unsigned i = 0; i < given.count; i++) {
		size_t len = strcspn(names, ":");
		bool last = i + 1 == given.count;

		if (!is_name(names, len) || last != !names[len])
			return -EINVAL;
		given.name[i] = names;
		names += len;
		*names++ = '\0'; /* not used any more behind the last one */
	}
	return 0;
}

static int read_names(const char *text)
{
	if (!text) {
		for (unsigned i = 0; i < given.count; i++)
			given.name[i] = "unknown";
		return 0;
	}
	given.names = strdup(text);
	return given.names ? split_names(given.names) : -ENOMEM;
}

static int claim_fds(void)
{
	for (unsigned i = 0; i < given.count; i++) {
		int fd = FIRST_FD + (int)i;
		int flags = fcntl(fd, F_GETFD);

		if (flags < 0)
			return -errno;
		if (fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0)
			return -errno;
	}
	return 0;
}

static int read_environment(const char *pid, const char *fds, const char *names)
{
	int r;

	if (!pid || !fds)
		return 0;
	r = read_number(pid, INT32_MAX);
	if (r < 0)
		return r;
	if (r != getpid())
		return 0; /* for somebody whose child this is */
	r = read_number(fds, TORC_ACTIVATION_MAX);
	if (r <= 0)
		return r;
	given.count = (unsigned)r;
	r = claim_fds();
	return r ? r : read_names(names);
}

static void look(void)
{
	given.error = read_environment(getenv("LISTEN_PID"), getenv("LISTEN_FDS"),
				       getenv("LISTEN_FDNAMES"));
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

static int option_of(int fd, int name)
{
	int value;
	socklen_t len = sizeof(value);
	int r = torc_sys_getsockopt(fd, SOL_SOCKET, name, &value, &len);

	return r ? r : value;
}

static int take_all(struct torc_activated *ret, unsigned max)
{
	if (given.error || given.taken)
		return given.error;
	if (given.count > max)
		return -ENOBUFS;
	for (unsigned i = 0; i < given.count; i++) {
		int fd = FIRST_FD + (int)i, type = option_of(fd, SO_TYPE);

		ret[i] = (struct torc_activated){
			.name = given.name[i],
			.fd = fd,
			.type = type > 0 ? type : 0,
			.listening = option_of(fd, SO_ACCEPTCONN) == 1,
		};
	}
	given.taken = true;
	return (int)given.count;
}

int torc_activation_take(struct torc_activated *ret, unsigned max)
{
	int r;

	if (!torc__on_linux())
		return 0;
	pthread_once(&given.once, look);
	pthread_mutex_lock(&given.mutex);
	r = take_all(ret, max);
	pthread_mutex_unlock(&given.mutex);
	return r;
}

/* --- as addresses --- */

static int find_listening(const char *name)
{
	for (unsigned i = 0; i < given.count; i++)
		if (!strcmp(given.name[i], name) &&
		    option_of(FIRST_FD + (int)i, SO_ACCEPTCONN) == 1)
			return FIRST_FD + (int)i;
	return -ENOENT;
}

static int find_named(const char *name)
{
	int r;

	if (!torc__on_linux())
		return -ENOENT;
	pthread_once(&given.once, look);
	pthread_mutex_lock(&given.mutex);
	r = given.error ? given.error : given.taken ? -ENOENT : find_listening(name);
	pthread_mutex_unlock(&given.mutex);
	return r;
}

int torc__inherited_listener(const char *address)
{
	int r, fd;

	fd = *address == 'f' ? read_number(address + 3, INT32_MAX) : find_named(address + 8);
	if (fd < 0)
		return fd;
	r = option_of(fd, SO_ACCEPTCONN);
	if (r <= 0)
		return r ? r : -EINVAL;
	return torc_sys_dup(fd);
}
