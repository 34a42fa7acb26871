/*
 * Names of functions, from files that are right, stripped, replaced, cut short and corrupt.
 */
#include "tests/core/run.h"

#include <dlfcn.h>
#include <elf.h>
#include <sys/mman.h>

#include "core/internal/symbols.h"

TestSuite(symbols, .timeout = 60);

static const char *put(struct torc__symbols *s, const void *address)
{
	static char text[sizeof(((struct torc__message *)0)->text) + 1];
	struct torc__message m = { .len = 0 };

	torc__symbols_put(s, &m, address);
	memcpy(text, m.text, m.len);
	text[m.len] = '\0';
	return text;
}

static bool starts_with(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

static __attribute__((noinline)) int nobody_knows_me(void *arg)
{
	return arg ? 1 : 0;
}

Test(symbols, static_functions_have_names_and_places_for_addr2line)
{
	struct torc__symbols s = { .count = 0 };
	const char *address = (const char *)(uintptr_t)nobody_knows_me;

	cr_assert(starts_with(put(&s, address), "nobody_knows_me+0x0 (core-symbols+0x"), "%s",
		  put(&s, address));
	cr_assert(starts_with(put(&s, address + 1), "nobody_knows_me+0x1 (core-symbols+0x"));
	torc__symbols_done(&s);
	cr_assert_eq(s.count, 0);
}

Test(symbols, addr2line_agrees)
{
	struct torc__symbols s = { .count = 0 };
	char command[256], line[256] = "";
	const char *place;
	FILE *f;

	if (system("command -v addr2line >/dev/null 2>&1") != 0)
		cr_skip_test("no addr2line here");
	place = strrchr(put(&s, (const void *)(uintptr_t)nobody_knows_me), '+') + 1;
	snprintf(command, sizeof(command), "addr2line -f -e /proc/%d/exe %.*s", (int)getpid(),
		 (int)strcspn(place, ")"), place);
	f = popen(command, "r");
	cr_assert(f && fgets(line, sizeof(line), f));
	pclose(f);
	cr_assert_str_eq(line, "nobody_knows_me\n");
	torc__symbols_done(&s);
}

Test(symbols, a_stripped_library_shows_what_it_exports)
{
	struct torc__symbols s = { .count = 0 };
	const char *text = put(&s, dlsym(RTLD_DEFAULT, "lsearch"));

	cr_assert(starts_with(text, "lsearch+0x0 (libc.so.6+0x"), "%s", text);
	torc__symbols_done(&s);
}

Test(symbols, an_address_of_nothing_is_a_number)
{
	struct torc__symbols s = { .count = 0 };
	int local = 0;

	cr_assert(starts_with(put(&s, &local), "0x"));
	cr_assert_str_eq(put(&s, NULL), "0x0");
	torc__symbols_done(&s);
}

static void copy_file(const char *from, const char *to)
{
	char command[1024];

	snprintf(command, sizeof(command), "cp '%s' '%s'", from, to);
	cr_assert_eq(system(command), 0);
}

/* An update of the system does so to libraries of running programs. */
Test(symbols, a_file_that_was_replaced_is_not_believed)
{
	char path[] = "/tmp/torc-symbols-XXXXXX", other[64];
	int fd = mkstemp(path);
	struct torc__symbols s = { .count = 0 };
	const void *function;
	Dl_info info;
	void *library;

	cr_assert(fd >= 0);
	library = dlopen("libm.so.6", RTLD_NOW);
	cr_assert(library && dladdr(dlsym(library, "nan"), &info));
	copy_file(info.dli_fname, path);
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	cr_assert(library);
	function = dlsym(library, "nan");
	cr_assert(starts_with(put(&s, function), "nan+0x0 (torc-symbols-"), "%s",
		  put(&s, function));
	cr_assert(s.objects[s.count - 1].image);
	torc__symbols_done(&s);
	snprintf(other, sizeof(other), "%s-new", path);
	copy_file("/proc/self/exe", other);
	cr_assert_eq(rename(other, path), 0);
	cr_assert(starts_with(put(&s, function), "nan+0x0 (torc-symbols-"), "%s",
		  put(&s, function));
	cr_assert_null(s.objects[s.count - 1].image);
	torc__symbols_done(&s);
	unlink(path);
	close(fd);
}

Test(symbols, more_objects_than_there_is_room_for)
{
	struct torc__symbols s = { .count = 0 };

	s.count = TORC__OBJECTS_MOST; /* all taken by something else */
	for (int i = 0; i < 3; i++) {
		cr_assert(starts_with(put(&s, (const void *)(uintptr_t)nobody_knows_me),
				      "nobody_knows_me+0x0"));
		cr_assert(starts_with(put(&s, dlsym(RTLD_DEFAULT, "lsearch")), "lsearch+0x0"));
		cr_assert_eq(s.count, TORC__OBJECTS_MOST);
	}
	torc__symbols_done(&s);
}

/* --- a file of our own: a header, five sections, two tables with their strings --- */

struct file {
	Elf64_Ehdr header;
	Elf64_Shdr sections[5];
	Elf64_Sym symbols[4];
	Elf64_Sym dynamic[2];
	char strings[32];
	char dynamic_strings[8]; /* last: what is not terminated ends with the file */
};

static const struct file good = {
	.header = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_shoff = offsetof(struct file, sections),
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = 5,
	},
	.sections = {
		{ .sh_type = SHT_NULL, .sh_size = 5 },
		{ .sh_type = SHT_DYNSYM, .sh_offset = offsetof(struct file, dynamic),
		  .sh_size = 2 * sizeof(Elf64_Sym), .sh_entsize = sizeof(Elf64_Sym), .sh_link = 2 },
		{ .sh_type = SHT_STRTAB, .sh_offset = offsetof(struct file, dynamic_strings),
		  .sh_size = 8 },
		{ .sh_type = SHT_SYMTAB, .sh_offset = offsetof(struct file, symbols),
		  .sh_size = 4 * sizeof(Elf64_Sym), .sh_entsize = sizeof(Elf64_Sym), .sh_link = 4 },
		{ .sh_type = SHT_STRTAB, .sh_offset = offsetof(struct file, strings),
		  .sh_size = 32 },
	},
	.symbols = {
		{ .st_name = 1, .st_info = ELF64_ST_INFO(STB_LOCAL, STT_FUNC), .st_shndx = 1,
		  .st_value = 0x1000, .st_size = 0x20 },
		{ .st_name = 7, .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), .st_shndx = 1,
		  .st_value = 0x1000, .st_size = 0x20 },
		{ .st_name = 14, .st_info = ELF64_ST_INFO(STB_LOCAL, STT_FUNC), .st_shndx = 1,
		  .st_value = 0x2000, .st_size = 0x20 },
		{ .st_name = 7, .st_info = ELF64_ST_INFO(STB_LOCAL, STT_OBJECT), .st_shndx = 1,
		  .st_value = 0x3000, .st_size = 0x20 },
	},
	.dynamic = {
		{ .st_name = 0 },
		{ .st_name = 1, .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), .st_shndx = 1,
		  .st_value = 0x1000, .st_size = 0x20 },
	},
	.strings = "\0local\0global\0other",
	.dynamic_strings = { '\0', 'd', 'y', 'n', 'a', 'm', 'i', 'c' },
};

/* The end of the memory is the end of a page, and the next one must not be touched. */
static char *guarded_end(void)
{
	static char *end;
	char *p;

	if (end)
		return end;
	p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(p, MAP_FAILED);
	cr_assert_eq(mprotect(p + 4096, 4096, PROT_NONE), 0);
	end = p + 4096;
	return end;
}

/* Look for an address; "" when there is nothing. What is found must be inside of the file. */
static const char *find(const struct file *file, size_t len, uint64_t address)
{
	static char name[64];
	char *image = guarded_end() - len;
	struct torc__symbol s;

	name[0] = '\0';
	memcpy(image, file, len);
	if (!torc__elf_find(image, len, address, &s))
		return name;
	cr_assert(s.name >= image && s.name_len && s.name + s.name_len <= image + len);
	snprintf(name, sizeof(name), "%.*s+%d", (int)s.name_len, s.name, (int)s.offset);
	return name;
}

Test(symbols, the_exported_name_is_preferred)
{
	struct file f = good;

	cr_assert_str_eq(find(&f, sizeof(f), 0x1000), "global+0");
	cr_assert_str_eq(find(&f, sizeof(f), 0x101f), "global+31");
	cr_assert_str_eq(find(&f, sizeof(f), 0x2001), "other+1");
	cr_assert_str_eq(find(&f, sizeof(f), 0xfff), "");
	cr_assert_str_eq(find(&f, sizeof(f), 0x1020), "");
	cr_assert_str_eq(find(&f, sizeof(f), 0x3000), "", "data is no function");
}

Test(symbols, without_symtab_dynsym_is_read)
{
	struct file f = good;

	f.sections[3].sh_type = SHT_PROGBITS;
	cr_assert_str_eq(find(&f, sizeof(f), 0x1001), "dynamic+1", "and ends with the section");
	f = good;
	f.sections[3].sh_offset = UINT64_MAX - 4;
	cr_assert_str_eq(find(&f, sizeof(f), 0x1001), "dynamic+1");
}

Test(symbols, many_sections_are_counted_in_the_first)
{
	struct file f = good;

	f.header.e_shnum = 0;
	cr_assert_str_eq(find(&f, sizeof(f), 0x1000), "global+0");
	f.sections[0].sh_size = UINT64_MAX;
	cr_assert_str_eq(find(&f, sizeof(f), 0x1000), "global+0");
}

static void find_all(const struct file *f, size_t len)
{
	static const uint64_t addresses[] = { 0, 0x1000, 0x101f, 0x2000, 0x3000, UINT64_MAX };

	for (size_t i = 0; i < COUNT(addresses); i++)
		find(f, len, addresses[i]);
}

Test(symbols, a_file_cut_short_anywhere_is_harmless)
{
	for (size_t len = 0; len <= sizeof(good); len++)
		find_all(&good, len);
}

Test(symbols, a_file_corrupt_in_any_byte_is_harmless)
{
	static const unsigned char values[] = { 0, 1, 0x7f, 0x80, 0xff };

	for (size_t at = 0; at < sizeof(good); at++)
		for (size_t i = 0; i < COUNT(values); i++) {
			struct file f = good;

			((unsigned char *)&f)[at] = values[i];
			find_all(&f, sizeof(f));
			f = good;
			((unsigned char *)&f)[at] ^= values[i];
			find_all(&f, sizeof(f));
		}
}

Test(symbols, a_file_corrupt_in_many_bytes_is_harmless)
{
	uint64_t random = 1;

	for (int round = 0; round < 20000; round++) {
		struct file f = good;
		unsigned n = 1 + next_random(&random) % 16;

		for (unsigned i = 0; i < n; i++) {
			/* after the magic, or nothing else is looked at */
			size_t at = 6 + next_random(&random) % (sizeof(f) - 6);

			((unsigned char *)&f)[at] = (unsigned char)next_random(&random);
		}
		find_all(&f, sizeof(f) - next_random(&random) % 64);
	}
}
