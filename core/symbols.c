#include "core/internal/symbols.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- one file --- */

struct image {
	const unsigned char *bytes;
	size_t len;
};

/* The bytes at offset, or NULL when they are not all in the file. */
static const void *at(const struct image *f, uint64_t offset, uint64_t len)
{
	return offset <= f->len && len <= f->len - offset ? f->bytes + offset : NULL;
}

/* Copied, because nothing in a corrupt file is aligned. */
static bool get(const struct image *f, uint64_t offset, void *ret, size_t len)
{
	const void *bytes = at(f, offset, len);

	if (bytes)
		memcpy(ret, bytes, len);
	return bytes;
}

static bool get_header(const struct image *f, Elf64_Ehdr *ret)
{
	return get(f, 0, ret, sizeof(*ret)) && !memcmp(ret->e_ident, ELFMAG, SELFMAG) &&
	       ret->e_ident[EI_CLASS] == ELFCLASS64 && ret->e_ident[EI_DATA] == ELFDATA2LSB;
}

static bool get_section(const struct image *f, const Elf64_Ehdr *h, uint64_t index, Elf64_Shdr *ret)
{
	uint64_t offset;

	return h->e_shoff && h->e_shentsize >= sizeof(*ret) && index < UINT32_MAX &&
	       !__builtin_add_overflow(h->e_shoff, index * h->e_shentsize, &offset) &&
	       get(f, offset, ret, sizeof(*ret));
}

/* From 65280 sections on their number is in the first one. */
static uint64_t section_count(const struct image *f, const Elf64_Ehdr *h)
{
	Elf64_Shdr first;

	if (h->e_shnum)
		return h->e_shnum;
	return get_section(f, h, 0, &first) ? first.sh_size : 0;
}

static bool find_section(const struct image *f, const Elf64_Ehdr *h, uint32_t type, Elf64_Shdr *ret)
{
	uint64_t count = section_count(f, h);

	for (uint64_t i = 0; i < count && get_section(f, h, i, ret); i++)
		if (ret->sh_type == type)
			return true;
	return false;
}

static bool covers(const Elf64_Sym *sym, uint64_t address)
{
	unsigned type = ELF64_ST_TYPE(sym->st_info);

	return (type == STT_FUNC || type == STT_GNU_IFUNC) && sym->st_shndx != SHN_UNDEF &&
	       address >= sym->st_value && address - sym->st_value < sym->st_size;
}

static bool get_name(const struct image *f, const Elf64_Shdr *strings, uint32_t offset,
		     struct torc__symbol *ret)
{
	const char *text = at(f, strings->sh_offset, strings->sh_size);

	if (!text || offset >= strings->sh_size)
		return false;
	ret->name = text + offset;
	ret->name_len = strnlen(ret->name, strings->sh_size - offset);
	return ret->name_len;
}

/* Of several names for one function the exported one: compilers make local copies of some. */
static bool find_in(const struct image *f, const Elf64_Ehdr *h, uint32_t type, uint64_t address,
		    struct torc__symbol *ret)
{
	Elf64_Shdr table, strings;
	Elf64_Sym sym;
	const unsigned char *p, *end;
	struct torc__symbol name;
	bool found = false;

	if (!find_section(f, h, type, &table) || !get_section(f, h, table.sh_link, &strings) ||
	    table.sh_entsize != sizeof(sym))
		return false;
	p = at(f, table.sh_offset, table.sh_size);
	if (!p)
		return false;
	for (end = p + table.sh_size; (size_t)(end - p) >= sizeof(sym); p += sizeof(sym)) {
		bool local;

		memcpy(&sym, p, sizeof(sym));
		local = ELF64_ST_BIND(sym.st_info) == STB_LOCAL;
		if (!covers(&sym, address) || (found && local) ||
		    !get_name(f, &strings, sym.st_name, &name))
			continue;
		*ret = name;
		ret->offset = address - sym.st_value;
		found = true;
		if (!local)
			break;
	}
	return found;
}

bool torc__elf_find(const void *image, size_t len, uint64_t address, struct torc__symbol *ret)
{
	struct image f = { image, len };
	Elf64_Ehdr h;

	return get_header(&f, &h) && (find_in(&f, &h, SHT_SYMTAB, address, ret) ||
				      find_in(&f, &h, SHT_DYNSYM, address, ret));
}

/* --- what is loaded --- */

static bool is_loaded(const struct dl_phdr_info *info, const Elf64_Phdr *note)
{
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const Elf64_Phdr *p = &info->dlpi_phdr[i];

		if (p->p_type == PT_LOAD && p->p_flags & PF_R && note->p_vaddr >= p->p_vaddr &&
		    note->p_filesz <= p->p_filesz &&
		    note->p_vaddr - p->p_vaddr <= p->p_filesz - note->p_filesz)
			return true;
	}
	return false;
}

/* Is the file still what was loaded? A newer version has other headers, or another build id in its notes. */
static bool is_same(const struct image *f, const struct dl_phdr_info *info)
{
	Elf64_Ehdr h;
	const void *headers;
	size_t len = info->dlpi_phnum * sizeof(Elf64_Phdr);

	if (!get_header(f, &h) || h.e_phnum != info->dlpi_phnum)
		return false;
	headers = at(f, h.e_phoff, len);
	if (!headers || memcmp(headers, info->dlpi_phdr, len) != 0)
		return false;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const Elf64_Phdr *p = &info->dlpi_phdr[i];
		const void *note = at(f, p->p_offset, p->p_filesz);

		if (p->p_type == PT_NOTE && is_loaded(info, p) &&
		    (!note ||
		     memcmp(note, (const void *)(info->dlpi_addr + p->p_vaddr), p->p_filesz) != 0))
			return false;
	}
	return true;
}

/*
 * A mapping: who cuts the file short while it is read kills the program, but not more than by cutting short
 * what runs from it anyhow.
 */
static void map_file(struct torc__object *o, const char *path, const struct dl_phdr_info *info)
{
	struct image f;
	struct stat st;
	void *bytes = MAP_FAILED;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
		bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (bytes == MAP_FAILED)
		return;
	f = (struct image){ bytes, (size_t)st.st_size };
	if (is_same(&f, info)) {
		o->image = f.bytes;
		o->len = f.len;
	} else {
		munmap(bytes, f.len);
	}
}

static void set_label(struct torc__object *o, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *last = slash ? slash + 1 : path;

	memcpy(o->label, last, strnlen(last, sizeof(o->label) - 1));
}

static void set_programs_label(struct torc__object *o)
{
	char path[512];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	path[n > 0 ? n : 0] = '\0';
	set_label(o, n > 0 ? path : "program");
}

/* For what has no path, such as the kernel's vdso, there is nothing to open. */
static void read_object(struct torc__object *o, const struct dl_phdr_info *info)
{
	const char *path = info->dlpi_name;

	if (path && *path)
		set_label(o, path);
	else
		set_programs_label(o);
	if (!path || !*path)
		map_file(o, "/proc/self/exe", info);
	else if (strchr(path, '/'))
		map_file(o, path, info);
}

struct search {
	uintptr_t address;
	struct torc__object *object;
};

static int look(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct search *s = arg;
	uintptr_t start = UINTPTR_MAX, end = 0;
	bool here = false;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const Elf64_Phdr *p = &info->dlpi_phdr[i];
		uintptr_t from = info->dlpi_addr + p->p_vaddr, to = from + p->p_memsz;

		if (p->p_type != PT_LOAD)
			continue;
		here |= s->address >= from && s->address < to;
		start = from < start ? from : start;
		end = to > end ? to : end;
	}
	if (!here)
		return 0;
	*s->object = (struct torc__object){ .base = info->dlpi_addr, .start = start, .end = end };
	read_object(s->object, info);
	return 1;
}

static void unmap(struct torc__object *o)
{
	if (o->image)
		munmap((void *)(uintptr_t)o->image, o->len);
	o->image = NULL;
}

static const struct torc__object *find_object(struct torc__symbols *s, uintptr_t address)
{
	struct search search = { .address = address };

	for (int i = 0; i < s->count; i++)
		if (address >= s->objects[i].start && address < s->objects[i].end)
			return &s->objects[i];
	if (s->count == TORC__OBJECTS_MOST)
		unmap(&s->objects[--s->count]);
	search.object = &s->objects[s->count];
	if (!dl_iterate_phdr(look, &search))
		return NULL;
	return &s->objects[s->count++];
}

static bool find_symbol(const struct torc__object *o, const void *address, struct torc__symbol *ret)
{
	Dl_info info;

	if (o->image && torc__elf_find(o->image, o->len, (uintptr_t)address - o->base, ret))
		return true;
	if (o->image || !dladdr(address, &info) || !info.dli_sname)
		return false;
	*ret = (struct torc__symbol){
		.name = info.dli_sname,
		.name_len = strlen(info.dli_sname),
		.offset = (uintptr_t)address - (uintptr_t)info.dli_saddr,
	};
	return true;
}

static void put_place(struct torc__message *m, const struct torc__object *o, uintptr_t address)
{
	torc__message_text(m, o->label);
	torc__message_text(m, "+");
	torc__message_number(m, address - o->base, 16);
}

void torc__symbols_put(struct torc__symbols *s, struct torc__message *m, const void *address)
{
	const struct torc__object *o = find_object(s, (uintptr_t)address);
	struct torc__symbol symbol;

	if (!o) {
		torc__message_number(m, (uintptr_t)address, 16);
		return;
	}
	if (!find_symbol(o, address, &symbol)) {
		put_place(m, o, (uintptr_t)address);
		return;
	}
	torc__message_bytes(m, symbol.name, symbol.name_len);
	torc__message_text(m, "+");
	torc__message_number(m, symbol.offset, 16);
	torc__message_text(m, " (");
	put_place(m, o, (uintptr_t)address);
	torc__message_text(m, ")");
}

void torc__symbols_done(struct torc__symbols *s)
{
	for (int i = 0; i < s->count; i++)
		unmap(&s->objects[i]);
	s->count = 0;
}

void torc__symbols_put_last(struct torc__message *m, const void *address)
{
	static struct torc__symbols symbols;
	static atomic_flag busy = ATOMIC_FLAG_INIT;

	if (atomic_flag_test_and_set(&busy)) {
		torc__message_number(m, (uintptr_t)address, 16);
		return;
	}
	torc__symbols_put(&symbols, m, address);
	atomic_flag_clear(&busy);
}
