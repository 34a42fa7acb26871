#include <errno.h>
#include <string.h>

#include "executor/internal/process.h"

/* The program is module 0, the others follow as they are met. Workers read only up to a number that they were given. */
static int take_module(struct torc__region *region, const struct torc__module *m)
{
	uint32_t n = region->modules_count;

	for (uint32_t i = 0; i < n; i++)
		if (!strcmp(region->modules[i].name, m->name) &&
		    torc__module_same(&region->modules[i], m))
			return (int)i;
	if (n == TORC__MODULES_MOST)
		return -EMFILE;
	region->modules[n] = *m;
	region->modules_count = n + 1;
	return (int)n;
}

static struct torc__known *known_at(struct torc__processes *p, const void *fn)
{
	return &p->functions[(uintptr_t)fn / 16 % TORC__KNOWN];
}

/* What was found out before counts as long as no library was unloaded: its addresses may be another's by now. */
static bool recall(struct torc__processes *p, const void *fn, uint64_t unloads,
		   struct torc__function *ret_function)
{
	const struct torc__known *k = known_at(p, fn);
	bool known;

	torc__guard_lock(NULL, &p->functions_guard);
	known = fn && k->fn == fn && k->unloads == unloads;
	if (known)
		*ret_function = k->function;
	torc__guard_unlock(&p->functions_guard);
	return known;
}

/* Returns the module's number, or a negative errno. */
static int remember(struct torc__processes *p, const void *fn, uint64_t unloads,
		    const struct torc__place_in_module *place)
{
	int module;

	torc__guard_lock(NULL, &p->functions_guard);
	module = take_module(p->region, &place->module);
	if (module >= 0)
		*known_at(p, fn) =
			(struct torc__known){ fn, unloads, { place->offset, (uint32_t)module } };
	torc__guard_unlock(&p->functions_guard);
	return module;
}

int torc__processes_resolve(struct torc__processes *p, const void *fn,
			    struct torc__function *ret_function)
{
	struct torc__place_in_module place;
	uint64_t unloads;
	int r;

	ret_function->module = 0;
	if (torc__likely(torc__module_of_program(fn, &ret_function->offset)))
		return 0;
	unloads = torc__module_unloads();
	if (recall(p, fn, unloads, ret_function))
		return 0;
	r = torc__module_of(fn, &place);
	if (r == 0)
		r = remember(p, fn, unloads, &place);
	if (r < 0)
		return r;
	*ret_function = (struct torc__function){ place.offset, (uint32_t)r };
	return 0;
}
