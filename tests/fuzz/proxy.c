/*
 * proxy.c - fuzz the parser of PROXY headers.
 *
 * Checked: a header lies inside of the input, a refused prefix stays refused, what is asked for is more than there is, and an
 * accepted one that is written anew is read the same.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/internal/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define require(condition)                                                              \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

/* An exact allocation, so that the address sanitizer sees an over-read. */
static int parse(const char *data, size_t len, struct torc_proxy *p)
{
	char *copy = malloc(len ? len : 1);
	size_t need = 0;
	int r;

	require(copy);
	memcpy(copy, data, len);
	r = torc__proxy_parse(copy, len, p, &need);
	require(r < 0 || (r == 0 && need > len && need <= TORC_PROXY_MAX) ||
		(r > 0 && (size_t)r <= len));
	free(copy);
	return r;
}

static void write_anew(const struct torc_proxy *p)
{
	char header[TORC__PROXY_FORMAT_MAX];
	struct torc_proxy again;
	int len = torc__proxy_format(header, 2, p->local ? NULL : &p->source,
				     p->local ? NULL : &p->destination);

	require(len > 0 && parse(header, (size_t)len, &again) == len);
	require(again.local == p->local);
	require(p->local || torc_address_equal(&again.source, &p->source));
	require(p->local || torc_address_equal(&again.destination, &p->destination));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct torc_proxy whole, part;
	char at[TORC_ADDRESS_MAX];
	int r = parse(text, size, &whole);

	for (size_t i = 1; i < 8; i++) {
		int cut = parse(text, size * i / 8, &part);

		require(cut >= 0 || r == cut);
		require(cut <= 0 || r == cut);
	}
	if (r > 0) {
		torc_address_format(&whole.source, at, sizeof(at));
		require(strlen(whole.authority) < sizeof(whole.authority));
		write_anew(&whole);
	}
	return 0;
}
