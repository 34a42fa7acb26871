/*
 * What messages are put together from: durations, operations, more text than there is room for.
 */
#include "tests/core/run.h"

#include "core/internal/opcode.h"
#include "core/internal/trap.h"

TestSuite(message, .timeout = 60);

static const char *text_of(const struct torc__message *m)
{
	static char text[sizeof(m->text) + 1];

	memcpy(text, m->text, m->len);
	text[m->len] = '\0';
	return text;
}

Test(message, durations_have_the_unit_that_suits)
{
	static const struct {
		unsigned long long ns;
		const char *text;
	} cases[] = {
		{ 0, "0 ns" },
		{ 999, "999 ns" },
		{ 1000, "1.00 us" },
		{ 1053, "1.05 us" },
		{ 99999, "99.99 us" },
		{ 100000, "100 us" },
		{ 999999999, "999 ms" },
		{ 1500000000, "1.50 s" },
		{ 61000000000, "1.01 min" },
		{ 3600000000000, "1.00 h" },
		{ UINT64_MAX, "5124095 h" },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct torc__message m = { .len = 0 };

		torc__message_duration(&m, cases[i].ns);
		cr_assert_str_eq(text_of(&m), cases[i].text);
	}
}

Test(message, operations_have_names_and_descriptors)
{
	static const struct {
		uint8_t opcode, flags;
		int fd;
		const char *text;
	} cases[] = {
		{ IORING_OP_NOP, 0, -1, "nop" },
		{ IORING_OP_NOP, 0, 3, "nop" },
		{ IORING_OP_RECV, 0, 0, "recv, fd 0" },
		{ IORING_OP_ACCEPT, IOSQE_FIXED_FILE, 7, "accept, fixed file 7" },
		{ IORING_OP_OPENAT, 0, -100, "openat" },
		{ IORING_OP_SENDMSG_ZC, 0, 12, "sendmsg_zc, fd 12" },
		{ 49, 0, 5, "read_multishot, fd 5" },
		{ 255, 0, 5, "number 255, fd 5" },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct io_uring_sqe sqe = { .opcode = cases[i].opcode,
					    .flags = cases[i].flags,
					    .fd = cases[i].fd };
		struct torc__message m = { .len = 0 };

		torc__opcode_describe(&sqe, &m);
		cr_assert_str_eq(text_of(&m), cases[i].text);
	}
}

Test(message, what_is_too_long_is_cut_off)
{
	struct torc__message m = { .len = 0 };

	for (int i = 0; i < 100; i++)
		torc__message_text(&m, "0123456");
	torc__message_number(&m, 1234567, 10);
	torc__message_text(&m, NULL);
	cr_assert_eq(m.len, sizeof(m.text));
	cr_assert_eq(m.text[m.len - 1], '0');
}
