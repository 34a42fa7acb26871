/*
 * core/internal/gen.h - what the rest of core asks about generators.
 */
#ifndef TORC_CORE_INTERNAL_GEN_H
#define TORC_CORE_INTERNAL_GEN_H

#include <torc/core/gen.h>

/* The running generator whose guard an address is in, or NULL. For signal handlers. */
const struct torc_gen *torc__gen_overflowed(const void *address);

/* The size of its stack. */
size_t torc__gen_stack_bytes(const struct torc_gen *g);

#endif
