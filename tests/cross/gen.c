/*
 * Generators on a foreign architecture, run under emulation: what tests/check/inline.c tries, with the sources of the
 * library that lie below the ring.
 */
#include "core/gen.c"
#include "core/stack.c"
#include "core/sys.c"

#include "tests/check/inline.c"

void torc__message_text(struct torc__message *m, const char *text)
{
	size_t len = strlen(text);

	memcpy(m->text + m->len, text, len);
	m->len += len;
}

void torc__trap(const char *what)
{
	puts(what);
	exit(1);
}

/* Fibers do not begin here. */
void torc__fiber_main(void);

void torc__fiber_main(void)
{
	torc__trap("a fiber");
}
