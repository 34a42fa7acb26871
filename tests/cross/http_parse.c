/*
 * The request parser on a foreign architecture, run under emulation: its vector instructions beside the scalar form and
 * the plain parser, with the input at the end of what may be read.
 */
#include "http/internal/authority.c"
#include "http/internal/parse.c"
#include "http/internal/parse_request.c"
#include "http/internal/scan.c"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/http/mutate.h"
#include "tests/http/reference.h"

#define FIELDS 12
#define AREA   4096
#define ROUNDS 20000

#define require(condition)                                                              \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			exit(1);                                                        \
		}                                                                       \
	} while (0)

/* The assembly that is linked to every one of these tests wants them; none of it runs here. */
void torc__fiber_main(void);
void torc__gen_begin(void);
void torc__gen_end(void);

void torc__fiber_main(void)
{
	abort();
}

void torc__gen_begin(void)
{
	abort();
}

void torc__gen_end(void)
{
	abort();
}

static char *area;

static const char *at_end(const char *bytes, size_t len)
{
	return memcpy(area + AREA - len, bytes, len);
}

/* Every byte at every place of a window. */
static void compare_maps(enum torc__http_isa isa)
{
	static char bytes[500];
	struct torc__http_scan scalar, vector;

	for (size_t len = 1; len < sizeof(bytes); len++) {
		const char *buf;

		for (size_t i = 0; i < len; i++)
			bytes[i] = (char)random_below(256);
		buf = at_end(bytes, len);
		require(torc__http_scan_select(TORC__HTTP_ISA_SCALAR));
		torc__http_scan_init(&scalar, buf, len);
		require(torc__http_scan_select(isa));
		torc__http_scan_init(&vector, buf, len);
		for (size_t word = 0; word < TORC__HTTP_SCAN_WORDS_FIRST && word * 64 < len;
		     word++) {
			require(vector.name[word] == scalar.name[word]);
			require(vector.value[word] == scalar.value[word]);
		}
	}
}

static void compare_requests(enum torc__http_isa isa)
{
	static const struct torc__http_limits limits = { AREA, AREA, FIELDS };
	struct torc__http_field fields[FIELDS];
	struct torc__http_head head = { .fields = fields, .field_capacity = FIELDS };
	struct reference ref;
	char bytes[1024];

	require(torc__http_scan_select(isa));
	for (unsigned i = 0; i < ROUNDS; i++) {
		size_t len = random_request(bytes, sizeof(bytes));
		const char *buf = at_end(bytes, len);
		int status = torc__http_parse_request(&head, buf, len, &limits);

		reference_parse(&ref, buf, len, FIELDS);
		require(status == ref.status || (ref.status == 0 && status < 0));
		require(status <= 0 || !reference_difference(&ref, &head));
	}
}

int main(void)
{
	area = mmap(NULL, AREA + 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	require(area != MAP_FAILED && !mprotect(area + AREA, 65536, PROT_NONE));
	for (int isa = TORC__HTTP_ISA_AUTO; isa < TORC__HTTP_ISA_COUNT; isa++) {
		if (!torc__http_scan_select((enum torc__http_isa)isa))
			continue;
		compare_maps((enum torc__http_isa)isa);
		compare_requests((enum torc__http_isa)isa);
	}
	return 0;
}
