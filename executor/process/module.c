#include "executor/internal/module.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* A static program needs no libraries, and a linker warns of dlopen there: it has it only if something else asks for it. */
extern __typeof__(dlopen) dlopen __attribute__((weak));

/* --- what the loader tells --- */

static const char *start_of(const struct dl_phdr_info *info, const ElfW(Phdr) * segment)
{
	return (const char *)(uintptr_t)(info->dlpi_addr + segment->p_vaddr);
}

static bool is_code(const ElfW(Phdr) * segment)
{
	return segment->p_type == PT_LOAD && segment->p_flags & PF_X;
}

static bool has_address(const struct dl_phdr_info *info, const void *address)
{
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *s = &info->dlpi_phdr[i];
		uintptr_t start = (uintptr_t)start_of(info, s);

		if (is_code(s) && (uintptr_t)address - start < s->p_memsz)
			return true;
	}
	return false;
}

/* --- identity --- */

static bool take_build_id(const char *notes, size_t bytes, struct torc__module *m)
{
	while (bytes >= sizeof(ElfW(Nhdr))) {
		const ElfW(Nhdr) *note = (const ElfW(Nhdr) *)(const void *)notes;
		size_t name = (note->n_namesz + 3u) & ~3u, desc = (note->n_descsz + 3u) & ~3u;
		size_t all = sizeof(*note) + name + desc;

		if (all > bytes)
			return false;
		if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 &&
		    !memcmp(note + 1, "GNU", 4) && note->n_descsz &&
		    note->n_descsz <= sizeof(m->identity)) {
			memcpy(m->identity, (const char *)(note + 1) + name, note->n_descsz);
			m->identity_bytes = note->n_descsz;
			return true;
		}
		notes += all;
		bytes -= all;
	}
	return false;
}

/* FNV-1a, of eight bytes at a time. */
static uint64_t hash(uint64_t h, const char *data, size_t bytes)
{
	for (; bytes >= 8; data += 8, bytes -= 8) {
		uint64_t word;

		memcpy(&word, data, 8);
		h = (h ^ word) * 0x100000001b3u;
	}
	for (; bytes; data++, bytes--)
		h = (h ^ (unsigned char)*data) * 0x100000001b3u;
	return h;
}

static void identify(const struct dl_phdr_info *info, struct torc__module *m)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (unsigned i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_NOTE &&
		    take_build_id(start_of(info, &info->dlpi_phdr[i]), info->dlpi_phdr[i].p_memsz,
				  m))
			return;
	for (unsigned i = 0; i < info->dlpi_phnum; i++)
		if (is_code(&info->dlpi_phdr[i]))
			h = hash(h, start_of(info, &info->dlpi_phdr[i]),
				 info->dlpi_phdr[i].p_filesz);
	memcpy(m->identity, &h, sizeof(h));
	m->identity_bytes = sizeof(h);
}

bool torc__module_same(const struct torc__module *a, const struct torc__module *b)
{
	return a->identity_bytes == b->identity_bytes &&
	       !memcmp(a->identity, b->identity, a->identity_bytes);
}

/* --- the program itself: never unloaded --- */

#define RANGES_MOST 4u

static struct {
	uintptr_t base;
	unsigned count;
	struct {
		uintptr_t start, bytes;
	} code[RANGES_MOST];
} program;

static pthread_once_t program_once = PTHREAD_ONCE_INIT;

static int note_program(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size, (void)arg;
	program.base = info->dlpi_addr;
	for (unsigned i = 0; i < info->dlpi_phnum && program.count < RANGES_MOST; i++) {
		const ElfW(Phdr) *s = &info->dlpi_phdr[i];

		if (!is_code(s))
			continue;
		program.code[program.count].start = (uintptr_t)start_of(info, s);
		program.code[program.count++].bytes = s->p_memsz;
	}
	return 1; /* it comes first */
}

static void look_at_program(void)
{
	dl_iterate_phdr(note_program, NULL);
}

bool torc__module_of_program(const void *address, uint64_t *ret_offset)
{
	pthread_once(&program_once, look_at_program);
	for (unsigned i = 0; i < program.count; i++)
		if ((uintptr_t)address - program.code[i].start < program.code[i].bytes) {
			*ret_offset = (uintptr_t)address - program.base;
			return true;
		}
	return false;
}

static int identify_program(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	identify(info, arg);
	return 1;
}

void torc__module_program(struct torc__module *ret_module)
{
	memset(ret_module, 0, sizeof(*ret_module));
	dl_iterate_phdr(identify_program, ret_module);
}

/* --- any module by an address --- */

struct search {
	const void *address;
	struct torc__place_in_module *place;
	unsigned seen;
	int result;
};

/* An absolute path, as far as the loader's name leads to one. The program has none, whatever the loader calls it. */
static int take_name(const char *name, bool is_program, struct torc__module *m)
{
	char *path = is_program ? NULL : realpath(name, NULL);
	const char *best = is_program ? "" : path ? path : name;
	size_t bytes = strlen(best) + 1;

	if (bytes <= sizeof(m->name))
		memcpy(m->name, best, bytes);
	free(path);
	return bytes <= sizeof(m->name) ? 0 : -ENAMETOOLONG;
}

static int search_module(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct search *s = arg;
	bool is_program = s->seen++ == 0;

	(void)size;
	if (!has_address(info, s->address))
		return 0;
	if (!is_program && (!info->dlpi_name || !strchr(info->dlpi_name, '/')))
		return 1; /* the kernel's page of code: no file */
	s->place->offset = (uintptr_t)s->address - info->dlpi_addr;
	memset(&s->place->module, 0, sizeof(s->place->module));
	identify(info, &s->place->module);
	s->result = take_name(info->dlpi_name, is_program, &s->place->module);
	return 1;
}

int torc__module_of(const void *address, struct torc__place_in_module *ret_place)
{
	struct search s = { .address = address, .place = ret_place, .result = -EINVAL };

	dl_iterate_phdr(search_module, &s);
	return s.result;
}

static int take_unloads(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	*(uint64_t *)arg = info->dlpi_subs;
	return 1;
}

uint64_t torc__module_unloads(void)
{
	uint64_t unloads = 0;

	dl_iterate_phdr(take_unloads, &unloads);
	return unloads;
}

/* --- a module in this process --- */

struct find {
	const struct torc__module *wanted;
	uintptr_t base;
	unsigned seen;
	bool same_name, found;
};

static int find_module(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct find *f = arg;
	struct torc__module m = { .identity_bytes = 0 };
	bool is_program = f->seen++ == 0;

	(void)size;
	if (is_program != !f->wanted->name[0])
		return 0;
	if (take_name(info->dlpi_name ? info->dlpi_name : "", is_program, &m) < 0 ||
	    strcmp(m.name, f->wanted->name) != 0)
		return 0;
	f->same_name = true;
	identify(info, &m);
	f->found = torc__module_same(&m, f->wanted);
	f->base = info->dlpi_addr;
	return 1;
}

int torc__module_find(const struct torc__module *module, uintptr_t *ret_base)
{
	struct find f = { .wanted = module };

	dl_iterate_phdr(find_module, &f);
	if (!f.same_name && module->name[0] && dlopen && dlopen(module->name, RTLD_NOW)) {
		f.seen = 0;
		dl_iterate_phdr(find_module, &f);
	}
	if (!f.same_name)
		return -ENOENT;
	*ret_base = f.base;
	return f.found ? 0 : -ESTALE;
}

static int find_code(struct dl_phdr_info *info, size_t size, void *arg)
{
	const void *const *address = arg;

	(void)size;
	return has_address(info, *address);
}

bool torc__module_has_code(const void *address)
{
	return dl_iterate_phdr(find_code, &address);
}
