/*
 * tests/sim/files.h - files that are replaced, appended to and copied while others read them, and trees that are removed.
 *
 * Checked: whoever reads sees one of the contents that were written, whole; what was appended is there, in order, and what
 * failed to be is not; when nothing fails but by cancellation, no file of another name is left; a walk visits what is there;
 * what is cut off is gone, and what is made longer has zeros, whether the ring truncates and knows the memory or not.
 */
#ifndef TESTS_SIM_FILES_H
#define TESTS_SIM_FILES_H

#include <fcntl.h>
#include <stdio.h>

#include <torc/core/sys.h>
#include <torc/io/contents.h>
#include <torc/io/direct.h>
#include <torc/io/directory.h>
#include <torc/io/file.h>

#include "tests/sim/sim.h"

#define FILES_ROUNDS 6u
#define FILES_RECORD 8u
#define FILES_PIECE  4096u

struct files_world {
	atomic_uint records; /* that were appended: one fiber does */
	char log[FILES_ROUNDS * FILES_RECORD];
	size_t log_len;
	bool log_unsure; /* a part of a record may be left */
};

/* What the contents named by a letter are: so many of it. */
static inline size_t files_len(char letter)
{
	return (size_t)(letter - 'a') * 700 + 1;
}

static inline bool files_whole(const char *data, size_t len)
{
	if (!len || data[0] < 'a' || data[0] > 'h' || len != files_len(data[0]))
		return false;
	for (size_t i = 1; i < len; i++)
		if (data[i] != data[0])
			return false;
	return data[len] == '\0';
}

static inline void files_read(const char *path)
{
	void *data;
	size_t len;
	int r = any_of_op(torc_read_file(AT_FDCWD, path, 10000, &data, &len));

	if (r < 0)
		return;
	check(files_whole(data, len));
	torc_free_file(data);
}

static inline int files_writer(void *arg)
{
	char data[8000];

	(void)arg;
	for (unsigned i = 0; i < FILES_ROUNDS && !do_something(); i++) {
		char letter = (char)('a' + dice(8));

		memset(data, letter, files_len(letter));
		torc_within(one_in(2) ? some_time() : TORC_SECONDS(1000))(void) any_of_op(
			torc_write_file(AT_FDCWD, "/d/state", data, files_len(letter), 0644));
	}
	return 0;
}

static inline int files_reader(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < FILES_ROUNDS && !do_something(); i++) {
		if (one_in(3))
			torc_within(one_in(2) ? some_time() : TORC_SECONDS(1000))(void)
				any_of_op(torc_copy_file(AT_FDCWD, "/d/state", AT_FDCWD, "/d/copy",
							 one_in(2) ? TORC_COPY_DURABLE : 0));
		files_read(one_in(2) ? "/d/state" : "/d/copy");
	}
	return 0;
}

static inline int files_appender(void *arg)
{
	struct files_world *w = arg;
	char record[FILES_RECORD];
	int r = 0;

	for (unsigned i = 0; i < FILES_ROUNDS && !do_something(); i++) {
		memset(record, (char)('A' + i), sizeof(record));
		torc_within(one_in(2) ? some_time() : TORC_SECONDS(1000)) r = any_of_op(
			torc_append_file(AT_FDCWD, "/d/log", record, sizeof(record), 0644));
		if (r < 0) {
			w->log_unsure |= !is_stop(r);
			continue;
		}
		memcpy(w->log + w->log_len, record, sizeof(record));
		w->log_len += sizeof(record);
	}
	return 0;
}

/* --- lengths, with memory of an arena --- */

static inline void files_resize(struct torc_arena *a, int fd, char *memory)
{
	unsigned to = dice(FILES_PIECE);
	int written, r = any_of_op(torc_ftruncate(fd, 0));

	if (r < 0)
		return;
	memset(memory, 'x', FILES_PIECE);
	written = any_of_op(torc_pwrite_fixed(a, fd, memory, 1 + dice(FILES_PIECE), 0));
	if (written < 0 || any_of_op(torc_ftruncate(fd, (off_t)to)) < 0)
		return;
	r = any_of_op(torc_pread_fixed(a, fd, memory, FILES_PIECE, 0));
	check(r <= (int)to && (r || !to));
	for (int i = 0; i < r; i++)
		check_eq(memory[i], i < written ? 'x' : 0);
}

static inline int files_resizer(void *arg)
{
	struct torc_arena a;
	void *memory;
	int fd;

	(void)arg;
	if (torc_arena_open(&a, 1, FILES_PIECE, 0) < 0)
		return 0;
	fd = any_of_op(torc_open("/d/resized", O_RDWR | O_CREAT, 0644));
	if (fd >= 0 && any_of_op(torc_arena_take(&a, &memory)) == 0) {
		for (unsigned i = 0; i < FILES_ROUNDS && !do_something(); i++)
			torc_within(one_in(2) ? some_time() : TORC_SECONDS(1000))
				files_resize(&a, fd, memory);
		torc_arena_give(&a, memory);
	}
	if (fd >= 0)
		torc_close(fd);
	torc_arena_close(&a);
	return 0;
}

/* --- trees --- */

static inline int files_visit(const struct torc_walk_entry *e, void *arg)
{
	check(e->type == DT_DIR || e->type == DT_REG || e->type == DT_LNK);
	++*(unsigned *)arg;
	return one_in(20) ? TORC_WALK_SKIP : TORC_WALK_ON;
}

static inline void files_plant(unsigned directories)
{
	char path[64] = "/t";

	for (unsigned i = 0; i < directories; i++) {
		size_t len = strlen(path);

		if (torc_mkdir(path, 0755) < 0)
			return;
		snprintf(path + len, sizeof(path) - len, "/l");
		(void)any_of_op(torc_symlinkat("/d", AT_FDCWD, path));
		snprintf(path + len, sizeof(path) - len, "/%u", i);
	}
}

static inline int files_gardener(void *arg)
{
	unsigned visits = 0;

	(void)arg;
	for (unsigned i = 0; i < 2 && !do_something(); i++) {
		files_plant(1 + dice(4));
		(void)any_of_op(torc_walk(AT_FDCWD, "/t", NULL, files_visit, &visits));
		torc_within(one_in(2) ? some_time() : TORC_SECONDS(1000))(void)
			any_of_op(torc_remove_tree(AT_FDCWD, "/t"));
	}
	return 0;
}

/* --- the end --- */

static inline void files_check_names(void)
{
	struct torc_directory d;
	struct torc_directory_entry e;
	int r;

	if (torc_directory_open(&d, AT_FDCWD, "/d") < 0)
		return;
	while ((r = torc_directory_next(&d, &e)) > 0)
		check(strncmp(e.name, ".torc-", 6));
	torc_directory_close(&d);
}

static inline void files_check_log(const struct files_world *w)
{
	void *data;
	size_t len;
	int r = torc_read_file(AT_FDCWD, "/d/log", 10000, &data, &len);

	if (r < 0) {
		check(!w->log_len || r != -ENOENT);
		return;
	}
	check_eq(len, w->log_len);
	check(!memcmp(data, w->log, len));
	torc_free_file(data);
}

static inline void files_check_end(const struct files_world *w)
{
	bool nothing_failed = no_chaos(CHAOS(ERROR) | CHAOS(MEMORY));
	int r;

	torc_sim_peace();
	if (nothing_failed)
		files_check_names();
	if (nothing_failed && !w->log_unsure)
		files_check_log(w);
	r = torc_remove_tree(AT_FDCWD, "/t");
	check(r == 0 || r == -ENOENT);
	check_eq(torc_remove_tree(AT_FDCWD, "/d"), 0);
	check_eq(torc_remove_tree(AT_FDCWD, "/d"), -ENOENT);
}

static inline int files_scenario(void *arg)
{
	static struct files_world world;
	struct files_world *w = &world;
	struct torc_group g;

	(void)arg;
	*w = (struct files_world){ .log_len = 0 };
	if (torc_sys_mkdir("/d", 0755) < 0)
		return 0;
	torc_group_enter_supervisor(&g);
	start(&g, files_writer, w);
	start(&g, files_writer, w);
	start(&g, files_reader, w);
	start(&g, files_reader, w);
	start(&g, files_appender, w);
	start(&g, files_resizer, w);
	start(&g, files_gardener, w);
	(void)torc_group_wait(&g);
	files_check_end(w);
	return 0;
}

#endif
