/*
 * http/internal/random.h - random bytes, and a hash that nobody can aim at.
 */
#ifndef TORC_HTTP_INTERNAL_RANDOM_H
#define TORC_HTTP_INTERNAL_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Seeds, not secrets: early after boot they may be from the clock. On the simulator always the same. Never waits. */
void torc__http_seed(void *to, size_t len);

/* SipHash-1-3: as long as the key is secret, who chooses the bytes cannot choose the hash. */
uint64_t torc__http_hash(const uint64_t key[2], const void *data, size_t len);

/* A bijection of 64-bit numbers under which neighbours look unrelated. */
static inline uint64_t torc__http_mix(uint64_t n)
{
	n = (n ^ (n >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	n = (n ^ (n >> 27)) * UINT64_C(0x94d049bb133111eb);
	return n ^ (n >> 31);
}

#endif
