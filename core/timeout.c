#include <torc/core/timeout.h>

int torc_timeout(uint64_t ns, torc_fn *fn, void *arg)
{
	struct torc_scope s;
	int r;

	torc_scope_enter(&s, ns);
	r = fn(arg);
	(void)torc_scope_leave(&s);
	return r;
}
