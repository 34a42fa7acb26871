#include "http/internal/random.h"

#include <string.h>
#include <sys/random.h>

#include <torc/core/sys.h>

#include "core/internal/system.h"

static void seed_from_clock(char *to, size_t len)
{
	uint64_t state = torc_sys_wall_ns() ^ (uintptr_t)to;

	for (size_t i = 0; i < len; i++)
		to[i] = (char)torc__http_mix(state += UINT64_C(0x9e3779b97f4a7c15));
}

void torc__http_seed(void *to, size_t len)
{
	if (torc__system != &torc__system_linux)
		memset(to, 0x5a, len);
	else if (getrandom(to, len, GRND_NONBLOCK) != (ssize_t)len)
		seed_from_clock(to, len);
}

static inline uint64_t rotate(uint64_t n, unsigned bits)
{
	return n << bits | n >> (64 - bits);
}

static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

/* Up to 8 bytes, the first the least significant. */
static inline uint64_t word(const unsigned char *p, size_t len)
{
	uint64_t n = 0;

	while (len--)
		n = n << 8 | p[len];
	return n;
}

uint64_t torc__http_hash(const uint64_t key[2], const void *data, size_t len)
{
	uint64_t v[4] = {
		key[0] ^ UINT64_C(0x736f6d6570736575),
		key[1] ^ UINT64_C(0x646f72616e646f6d),
		key[0] ^ UINT64_C(0x6c7967656e657261),
		key[1] ^ UINT64_C(0x7465646279746573),
	};
	const unsigned char *p = data;
	uint64_t last = (uint64_t)len << 56;

	for (; len >= 8; p += 8, len -= 8) {
		uint64_t m = word(p, 8);

		v[3] ^= m;
		sip_round(v);
		v[0] ^= m;
	}
	last |= word(p, len);
	v[3] ^= last;
	sip_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
