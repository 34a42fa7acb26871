/*
 * tests/http/mutate.h - good requests and responses with a few bytes changed, from a seed.
 */
#ifndef TESTS_HTTP_MUTATE_H
#define TESTS_HTTP_MUTATE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static uint64_t random_state = 0x9e3779b97f4a7c15;

static inline unsigned random_below(unsigned limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (unsigned)((random_state >> 32) % limit);
}

static const char *const seeds[] = {
	"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n",
	"\r\nPOST /a/b?c=d&e=%20 HTTP/1.1\r\nHost: example.com\r\nContent-Length: 42\r\n"
	"Content-Type: application/json\r\nExpect: 100-continue\r\n\r\n{}",
	"PUT http://[::1]:80/x HTTP/1.1\r\nhost: x\r\nTransfer-Encoding: chunked\r\n"
	"Connection: keep-alive, upgrade\r\nUpgrade: h2c\r\nX#Y: \t z \t\r\n\r\n",
	"OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\nUser-Agent: Mozilla/5.0 (X11; Linux "
	"x86_64)\r\nAccept: text/html,*/*;q=0.8\r\nCookie: a=b; c=\"d\"\r\n\r\nGET / HTTP",
	"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
};

static const char *const response_seeds[] = {
	"HTTP/1.1 200 OK\r\nContent-Length: 42\r\nContent-Type: text/html\r\n\r\n",
	"HTTP/1.1 404\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive, close\r\n"
	"Server: x/1.0\r\nSet-Cookie: a=b; Path=/; HttpOnly\r\n\r\n0\r\n\r\n",
	"HTTP/1.0 302 Found here\r\nlocation: http://[::1]:80/x?y#z\r\nConnection: keep-alive\r\n"
	"X#Y: \t z \t\r\n\r\n",
	"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81",
	"HTTP/2 200\r\n\r\n",
};

/* Bytes that matter to some rule come more often than others. */
static inline char random_byte(void)
{
	static const char special[] = "\r\n\t :#/?*,@[]%\x7f\x80\xff\"(){}0159aA=;";

	return random_below(3) ? special[random_below(sizeof(special))] : (char)random_below(256);
}

static inline size_t mutate(char *buf, size_t len, size_t capacity)
{
	size_t at = random_below((unsigned)len);
	size_t count = 1 + random_below(8);

	switch (random_below(4)) {
	case 0: /* insert */
		if (len + count > capacity)
			return len;
		memmove(buf + at + count, buf + at, len - at);
		while (count-- > 0) {
			buf[at++] = random_byte();
			len++;
		}
		return len;
	case 1: /* remove */
		count = count < len - at ? count : len - at - 1;
		memmove(buf + at, buf + at + count, len - at - count);
		return len - count;
	case 2: /* repeat a piece elsewhere */
		count *= 8;
		if (len + count > capacity || at + count > len)
			return len;
		memmove(buf + at + count, buf + at, len - at);
		return len + count;
	default: buf[at] = random_byte(); return len;
	}
}

static inline size_t random_head(const char *seed, char *buf, size_t capacity)
{
	size_t len = strlen(seed);

	memcpy(buf, seed, len);
	for (unsigned i = random_below(4); i > 0; i--)
		len = mutate(buf, len, capacity);
	return len;
}

static inline size_t random_request(char *buf, size_t capacity)
{
	return random_head(seeds[random_below(sizeof(seeds) / sizeof(seeds[0]))], buf, capacity);
}

static inline size_t random_response(char *buf, size_t capacity)
{
	const unsigned count = sizeof(response_seeds) / sizeof(response_seeds[0]);

	return random_head(response_seeds[random_below(count)], buf, capacity);
}

#endif
