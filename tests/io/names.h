/*
 * tests/io/names.h - a resolver that answers what a test wants, when it wants.
 *
 * A name says what becomes of it: "missing...", "nodata...", "again...", "fail..."; "held..." waits until it is let go, and tells
 * before that it has come. All others have addresses: those of fake.ips, or 192.0.2.1.
 */
#ifndef TESTS_IO_NAMES_H
#define TESTS_IO_NAMES_H

#include "tests/io/run.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include <torc/core/sys.h>
#include <torc/io/file.h>
#include <torc/io/name.h>

#include "io/internal/name.h"

static struct fake {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned calls, inside, inside_most;
	bool let_go;
	int came; /* an eventfd: counts those of "held..." */
	struct torc__ips ips;
	char last[TORC__NAME_BYTES];
} fake = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static inline bool begins(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

static inline void be_held(void)
{
	const uint64_t one = 1;

	check_eq(write(fake.came, &one, sizeof(one)), sizeof(one));
	while (!fake.let_go)
		pthread_cond_wait(&fake.changed, &fake.lock);
}

static inline void add_ip(struct torc__ips *ips, const char *text)
{
	union torc__ip *ip = &ips->list[ips->count++];

	memset(ip, 0, sizeof(*ip));
	if (inet_pton(AF_INET, text, &ip->v4.sin_addr) == 1) {
		ip->v4.sin_family = AF_INET;
		return;
	}
	check_eq(inet_pton(AF_INET6, text, &ip->v6.sin6_addr), 1);
	ip->v6.sin6_family = AF_INET6;
}

static inline int answer(const char *name, int family, struct torc__ips *ret)
{
	if (begins(name, "missing"))
		return -ENOENT;
	if (begins(name, "nodata"))
		return -ENODATA;
	if (begins(name, "again"))
		return -EAGAIN;
	if (begins(name, "fail"))
		return -EREMOTEIO;
	if (!fake.ips.count)
		add_ip(&fake.ips, "192.0.2.1");
	ret->count = 0;
	for (unsigned i = 0; i < fake.ips.count; i++)
		if (!family || fake.ips.list[i].any.sa_family == family)
			ret->list[ret->count++] = fake.ips.list[i];
	return ret->count ? 0 : -ENODATA;
}

static inline int fake_resolver(const char *name, int family, struct torc__ips *ret)
{
	int r;

	pthread_mutex_lock(&fake.lock);
	fake.calls++;
	snprintf(fake.last, sizeof(fake.last), "%s", name);
	if (++fake.inside > fake.inside_most)
		fake.inside_most = fake.inside;
	if (begins(name, "held"))
		be_held();
	r = answer(name, family, ret);
	fake.inside--;
	pthread_mutex_unlock(&fake.lock);
	return r;
}

static inline unsigned fake_calls(void)
{
	unsigned n;

	pthread_mutex_lock(&fake.lock);
	n = fake.calls;
	pthread_mutex_unlock(&fake.lock);
	return n;
}

static inline void let_go(void)
{
	pthread_mutex_lock(&fake.lock);
	fake.let_go = true;
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
}

/* Until so many have come that are held. */
static inline void await_held(unsigned count)
{
	uint64_t one;

	while (count--)
		check_eq(torc_read(fake.came, &one, sizeof(one)), sizeof(one));
}

static inline void use_fake(void)
{
	fake.came = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	check_ge(fake.came, 0);
	torc__resolver = fake_resolver;
}

#endif
