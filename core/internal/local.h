/*
 * core/internal/local.h - what spawning and ending fibers have to do with fiber-local values.
 *
 * A fiber points to the table of what its children inherit, or to one of its own (values that they do
 * not inherit) that points to such a table. A table is shared by fibers of one loop and copied when one of
 * them changes it; a child on another loop gets a copy at once. So counting who shares a table needs no
 * atomics, and fibers of different loops have only the values in common.
 */
#ifndef TORC_CORE_INTERNAL_LOCAL_H
#define TORC_CORE_INTERNAL_LOCAL_H

struct torc__fiber;
struct torc__locals;

/* What a child on the same loop inherits: one more user, or NULL. Cannot fail. */
struct torc__locals *torc__locals_share(struct torc__locals *locals);

/* The same for a child on another loop: a table of its own. Returns 0 or -ENOMEM. */
int torc__locals_copy(struct torc__locals *locals, struct torc__locals **ret_copy);

/* One user fewer; runs the destructors of values that nobody has any more. */
void torc__locals_drop(struct torc__locals *locals);

/* The fiber has ended. */
void torc__locals_end(struct torc__fiber *f);

#endif
