#include <torc/core/interval.h>

#include <limits.h>

#include "core/internal/fiber.h"

void torc_interval_init(struct torc_interval *i, uint64_t period_ns)
{
	torc_interval_init_at(i, torc__later(torc_now_ns(), period_ns), period_ns);
}

void torc_interval_init_at(struct torc_interval *i, uint64_t first_ns, uint64_t period_ns)
{
	torc__check(period_ns, "an interval has a period of 0");
	i->next_ns = first_ns;
	i->period_ns = period_ns;
}

int torc_interval_wait(struct torc_interval *i)
{
	uint64_t ticks, passed;
	int r = torc_sleep_until(i->next_ns);

	if (r < 0)
		return r;
	ticks = (torc_now_ns() - i->next_ns) / i->period_ns + 1;
	if (ticks > INT_MAX)
		ticks = INT_MAX;
	i->next_ns = __builtin_mul_overflow(ticks, i->period_ns, &passed)
			     ? TORC_NEVER
			     : torc__later(i->next_ns, passed);
	return (int)ticks;
}
