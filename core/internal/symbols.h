/*
 * core/internal/symbols.h - which function an address is in.
 *
 * dladdr(3) knows exported names only, and most functions of a program are static. So the symbol tables of
 * the files themselves are read: .symtab, or .dynsym where that was stripped. What is in a file is not trusted:
 * each offset is checked against its length. Nothing allocates; it works in a signal handler as well as
 * dl_iterate_phdr(3) does.
 */
#ifndef TORC_CORE_INTERNAL_SYMBOLS_H
#define TORC_CORE_INTERNAL_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/internal/trap.h"

#define TORC__OBJECTS_MOST 24

struct torc__symbol {
	const char *name; /* in the image; not terminated */
	size_t name_len;
	uint64_t offset; /* of the address in the function */
};

/* A program or library that is loaded. */
struct torc__object {
	uintptr_t base;       /* what was added to the addresses in the file */
	uintptr_t start, end; /* of what is loaded */
	const void *image;    /* the file, or NULL: it cannot be read, or is not what was loaded */
	size_t len;
	char label[48]; /* the last part of its path */
};

/* Zeroed to begin with. One thread at a time. */
struct torc__symbols {
	struct torc__object objects[TORC__OBJECTS_MOST];
	int count;
};

/* Find the function in an ELF file by an address as the file has it. Returns false when there is none. */
bool torc__elf_find(const void *image, size_t len, uint64_t address,
		    struct torc__symbol *ret_symbol);

/*
 * Add "function+0x12 (file+0x1234)" to the message, or as much of it as is known. The latter is what
 * `addr2line -e file` takes.
 */
void torc__symbols_put(struct torc__symbols *s, struct torc__message *m, const void *address);

/* Unmap the files. */
void torc__symbols_done(struct torc__symbols *s);

/* torc__symbols_put for a process that is about to end, on little stack; never done. */
void torc__symbols_put_last(struct torc__message *m, const void *address);

/* The instruction that has called and will return to this address; NULL stays NULL. */
static inline const void *torc__call_site(const void *returns_to)
{
	return returns_to ? (const char *)returns_to - 1 : NULL;
}

#endif
