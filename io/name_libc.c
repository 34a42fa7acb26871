/*
 * io/name_libc.c - the addresses of a name by the C library, on a thread that may wait.
 */
#include "io/internal/name.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>

#include "io/internal/call.h"

torc__resolver_fn *torc__resolver = torc__resolve_by_libc;

/* What the caller would take for its scope's, or must never see, was a failure of this moment. */
static int system_failure(int error)
{
	switch (error) {
	case 0: return -EIO;
	case EINTR:
	case ECANCELED:
	case ETIMEDOUT: return -EAGAIN;
	default: return -error;
	}
}

int torc__name_error(int error, int system_error)
{
	switch (error) {
	case EAI_NONAME: return -ENOENT;
	case EAI_NODATA:
	case EAI_ADDRFAMILY: return -ENODATA;
	case EAI_AGAIN: return -EAGAIN;
	case EAI_MEMORY: return -ENOMEM;
	case EAI_SYSTEM: return system_failure(system_error);
	case EAI_FAMILY:
	case EAI_SOCKTYPE:
	case EAI_SERVICE:
	case EAI_BADFLAGS: return -EINVAL;
	default: return -EREMOTEIO; /* EAI_FAIL, and what there may be one day */
	}
}

static bool is_there(const struct torc__ips *ips, const union torc__ip *ip)
{
	for (unsigned i = 0; i < ips->count; i++)
		if (!memcmp(&ips->list[i], ip, sizeof(*ip)))
			return true;
	return false;
}

static unsigned count_family(const struct addrinfo *all, int family)
{
	unsigned n = 0;

	for (; all; all = all->ai_next)
		n += all->ai_family == family;
	return n;
}

/* How many of one family are taken: what the other one leaves, and in any case its half. */
static unsigned share(unsigned of_other)
{
	const unsigned half = TORC_NAME_ADDRESSES_MAX / 2;

	return of_other < half ? TORC_NAME_ADDRESSES_MAX - of_other : half;
}

/* Only what the address is, so that equal ones have equal bytes. */
static bool take_ip(const struct addrinfo *a, union torc__ip *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (a->ai_family == AF_INET && a->ai_addrlen >= sizeof(ret->v4)) {
		ret->v4.sin_family = AF_INET;
		ret->v4.sin_addr = ((const struct sockaddr_in *)(const void *)a->ai_addr)->sin_addr;
	} else if (a->ai_family == AF_INET6 && a->ai_addrlen >= sizeof(ret->v6)) {
		const struct sockaddr_in6 *v6 = (const void *)a->ai_addr;

		ret->v6.sin6_family = AF_INET6;
		ret->v6.sin6_addr = v6->sin6_addr;
		ret->v6.sin6_scope_id = v6->sin6_scope_id;
	} else {
		return false;
	}
	return true;
}

int torc__ips_collect(const struct addrinfo *all, struct torc__ips *ret)
{
	unsigned left_v4 = share(count_family(all, AF_INET6));
	unsigned left_v6 = share(count_family(all, AF_INET));

	ret->count = 0;
	for (; all && ret->count < TORC_NAME_ADDRESSES_MAX; all = all->ai_next) {
		unsigned *left = all->ai_family == AF_INET ? &left_v4 : &left_v6;
		union torc__ip ip;

		if (!take_ip(all, &ip) || !*left || is_there(ret, &ip))
			continue;
		ret->list[ret->count++] = ip;
		--*left;
	}
	return ret->count ? 0 : -ENODATA;
}

/*
 * One type of socket, or each address would come once for each. No AI_ADDRCONFIG: what cannot be reached is sorted last, and
 * a connection to it fails at once.
 */
static int ask_libc(const char *name, int family, struct torc__ips *ret)
{
	const struct addrinfo hints = { .ai_family = family, .ai_socktype = SOCK_STREAM };
	struct addrinfo *all;
	int r = getaddrinfo(name, NULL, &hints, &all), error = errno;

	if (r)
		return torc__name_error(r, error);
	r = torc__ips_collect(all, ret);
	freeaddrinfo(all);
	return r;
}

int torc__resolve_by_libc(const char *name, int family, struct torc__ips *ret)
{
	return torc__on_linux() ? ask_libc(name, family, ret) : -ENOSYS;
}
