/*
 * executor/internal/module.h - functions as places in modules: the program and its shared libraries.
 *
 * A module is known by its name and by what is in it: the build id that the linker has left there, or a hash of its code where
 * it has left none. So a library that was replaced on disk is told from the one that is loaded.
 */
#ifndef TORC_EXECUTOR_INTERNAL_MODULE_H
#define TORC_EXECUTOR_INTERNAL_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TORC__MODULES_MOST    64u
#define TORC__MODULE_NAME     464u
#define TORC__MODULE_IDENTITY 40u

struct torc__module {
	char name[TORC__MODULE_NAME]; /* its path; empty: the program itself */
	uint8_t identity[TORC__MODULE_IDENTITY];
	uint32_t identity_bytes;
};

/* Where an address is, if it is in code that was loaded from a file. */
struct torc__place_in_module {
	struct torc__module module;
	uint64_t offset;
};

/*
 * Returns 0, -EINVAL: there is no code, or -ENAMETOOLONG. Any thread.
 */
int torc__module_of(const void *address, struct torc__place_in_module *ret_place);

/* How many libraries the process has unloaded so far. */
uint64_t torc__module_unloads(void);

/* The program itself. */
void torc__module_program(struct torc__module *ret_module);

/* The same only for the program itself, which is quick. Returns false: somewhere else. */
bool torc__module_of_program(const void *address, uint64_t *ret_offset);

/*
 * Where a module is in this process, loading it if it is not there yet. Returns 0; -ESTALE: it is another one; or -ENOENT.
 *
 *   @ret_base  what offsets are added to
 */
int torc__module_find(const struct torc__module *module, uintptr_t *ret_base);

bool torc__module_same(const struct torc__module *a, const struct torc__module *b);

/* Is there code? */
bool torc__module_has_code(const void *address);

#endif
