/* SPDX-License-Identifier: Apache-2.0 */
/* arena_kill.c: staged files outlive a killed daemon, killed wherever it is. */
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/arenakit.h"
#include "tests/tap.h"

static const char *why;

/* ---- kills ----------------------------------------------------------- */

/* The child of a kill test: changes without end, each announced when done. */
static _Noreturn void change_until_killed(int fd, uint64_t state,
	_Atomic long *done, uint32_t *idx)
{
	struct ak_model *m = calloc(1, sizeof(*m));
	struct arena *a;

	must(m && arena_open(fd, &a) == 0);
	for (;;) {
		struct ak_change c = ak_change(m, &state);

		must(ak_enact(a, &idx[c.slot], &c) == 0);
		ak_apply(m, &c);
		atomic_fetch_add(done, 1);
	}
}

/* Whether a part holds what a change that was cut may have left. */
static bool cut_part(const struct arena *a, const struct ak_slot *s,
	const struct ak_change *c, enum arena_part part)
{
	const struct ak_bytes *old = &s->part[part];
	size_t len, end = c->off + c->len;
	const char *at = arena_bytes(a, s->idx, part, &len);

	if (part != c->part || (c->kind != AK_WRITE && c->kind != AK_TRUNCATE))
		return ak_same_part(a, s, part);
	if (c->kind == AK_TRUNCATE)
		end = c->len;
	if (len != old->len &&
		len != (c->kind == AK_WRITE ? VG_MAX(end, old->len) : end))
		return false;
	for (size_t i = 0; i < len; i++) {
		char was = i < old->len ? old->at[i] : 0;
		bool is_in = c->kind == AK_WRITE && i >= c->off && i < end;

		/* Only bytes that are written over may be old or new. */
		if (is_in ? at[i] != c->fill && !(i < old->len && at[i] == was) :
			    at[i] != was)
			return false;
	}
	return true;
}

/* Whether a file is what the cut change c found or what it would leave. */
static bool cut_file(struct arena *a, const struct ak_slot *s,
	const struct ak_change *c, bool is_found)
{
	const struct arena_attr *attr;

	if (!is_found)
		return c->kind == AK_NEW || c->kind == AK_DEL;
	attr = arena_file_get(a, s->idx);
	if (c->kind == AK_NEW)
		return !memcmp(attr, &c->attr, sizeof(*attr));
	return (!memcmp(attr, &s->attr, sizeof(*attr)) ||
		       (c->kind == AK_PUT &&
			       !memcmp(attr, &c->attr, sizeof(*attr)))) &&
		cut_part(a, s, c, ARENA_BODY) && cut_part(a, s, c, ARENA_META);
}

static int find_idx(void *ctx, uint32_t idx, const struct arena_attr *attr)
{
	(void)attr;
	((bool *)ctx)[idx] = true;
	return 0;
}

/* Compares an arena with `done` changes, the next of which may be half there. */
static bool survives(struct arena *a, uint64_t state, long done,
	const uint32_t *idx)
{
	bool is_found[AK_SLOTS + 1] = {false}, is_same = true;
	struct ak_model *m = calloc(1, sizeof(*m));
	struct ak_change c;

	must(m);
	for (long i = 0; i < done; i++) {
		c = ak_change(m, &state);
		ak_apply(m, &c);
	}
	c = ak_change(m, &state);
	arena_each(a, find_idx, is_found);
	for (unsigned i = 0; i < AK_SLOTS && is_same; i++) {
		struct ak_slot *s = &m->slot[i];

		s->idx = idx[i];
		if (i == c.slot && (s->is_there || c.kind == AK_NEW))
			is_same = c.kind == AK_NEW ||
				cut_file(a, s, &c, is_found[s->idx]);
		else if (s->is_there)
			is_same = is_found[s->idx] && ak_same_file(a, s);
	}
	ak_fini(m);
	return is_same;
}

static void test_kill(void)
{
	long n = env_long("VG_ARENA_KILLS", 40);
	struct {
		_Atomic long done;
		uint32_t idx[AK_SLOTS];
	} *sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bool is_open = true, is_kept = true, is_usable = true;
	uint64_t dice = seed();

	must(sh != MAP_FAILED);
	for (long i = 0; i < n && is_open && is_kept; i++) {
		uint64_t state = ak_next(&dice);
		long least = (long)(ak_next(&dice) % 300);
		int fd = arena_create(512ull << 20), status;
		struct arena *a = NULL;
		uint32_t idx;
		pid_t pid;

		memset(sh, 0, sizeof(*sh));
		fflush(NULL);
		pid = fork();
		must(fd >= 0 && pid >= 0);
		if (pid == 0)
			change_until_killed(fd, state, &sh->done, sh->idx);
		while (atomic_load(&sh->done) < least)
			sched_yield();
		kill(pid, SIGKILL);
		must(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
		is_open = !arena_open(fd, &a) && arena_check(a, &why);
		is_kept = is_open && survives(a, state, sh->done, sh->idx);
		is_usable &= is_open && !arena_file_new(a, &ak_plain, &idx) &&
			!arena_pwrite(a, idx, ARENA_BODY, 100000, "x", 1) &&
			arena_check(a, &why);
		arena_close(a);
		close(fd);
	}
	ok(is_open, "after kill -9 the arena opens and is in order");
	ok(is_kept, "each change that had returned is there");
	ok(is_usable, "and work goes on in it");
	munmap(sh, sizeof(*sh));
}

/* ---- every instruction ----------------------------------------------- */

/* Copies what an arena holds; most of it is holes. */
static int copy_of(int fd)
{
	static char text[65536];
	int to = arena_create(ARENA_LIMIT_MIN);
	off_t at = 0, end;

	must(to >= 0);
	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		end = lseek(fd, at, SEEK_HOLE);
		while (at < end) {
			size_t n = (size_t)VG_MIN(end - at,
				(off_t)sizeof(text));

			must(pread(fd, text, n, at) == (ssize_t)n);
			must(pwrite(to, text, n, at) == (ssize_t)n);
			at += (off_t)n;
		}
	}
	return to;
}

/* What one look at the stopped arena must find: before, or after. */
static bool is_between(int fd, const struct ak_slot *s, const struct ak_change *c)
{
	int copy = copy_of(fd);
	bool is_found[AK_SLOTS + 1] = {false}, is_so;
	struct arena *a;

	if (arena_open(copy, &a)) {
		close(copy);
		return false;
	}
	arena_each(a, find_idx, is_found);
	is_so = arena_check(a, &why) && cut_file(a, s, c, is_found[s->idx]);
	arena_close(a);
	close(copy);
	return is_so;
}

#if defined(__SANITIZE_THREAD__)
#define IS_TRACEABLE 0 /* each step would be a hundred */
#else
#define IS_TRACEABLE 1
#endif

/*
 * Runs one change in a child, instruction by instruction, and looks at the
 * arena whenever its table, or as much of its space as we use, has changed.
 * Gives the number of looks; -1: a wrong state was seen; -2: no ptrace here.
 */
static long look_through(int fd, struct arena *a, struct ak_slot *s,
	const struct ak_change *c, const char *map)
{
	enum { HEAD = 65536 + 4096, SPACE = 256 << 10 };
	static char seen[HEAD + SPACE];
	const char *space = map + (256u << 20);
	long n_looks = 0;
	uint32_t idx = s->idx;
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	must(pid >= 0);
	if (pid == 0) {
		if (!IS_TRACEABLE || ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(2);
		raise(SIGSTOP);
		_exit(ak_enact(a, &idx, c) ? 1 : 0);
	}
	must(waitpid(pid, &status, 0) == pid);
	if (!WIFSTOPPED(status))
		return -2;
	while (!ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) &&
		waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
		if (!memcmp(seen, map, HEAD) &&
			!memcmp(seen + HEAD, space, SPACE))
			continue;
		memcpy(seen, map, HEAD);
		memcpy(seen + HEAD, space, SPACE);
		n_looks++;
		if (!is_between(fd, s, c)) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return -1;
		}
	}
	return WIFEXITED(status) && !WEXITSTATUS(status) ? n_looks : -1;
}

static const struct step {
	struct ak_change c;
	const char *what;
} steps[] = {
	{{.kind = AK_NEW}, "making a file"},
	{{.kind = AK_WRITE, .len = 100, .fill = 'a'}, "its first bytes"},
	{{.kind = AK_WRITE, .off = 100, .len = 100, .fill = 'b'}, "appending"},
	{{.kind = AK_WRITE, .off = 50, .len = 100, .fill = 'c'}, "overwriting"},
	{{.kind = AK_WRITE, .off = 300, .len = 9, .fill = 'd'}, "leaving a gap"},
	{{.kind = AK_PUT}, "other attributes"},
	{{.kind = AK_WRITE, .off = 4000, .len = 900, .fill = 'e'}, "growing"},
	{{.kind = AK_TRUNCATE, .len = 700}, "shortening"},
	{{.kind = AK_TRUNCATE, .len = 900}, "lengthening"},
	{{.kind = AK_WRITE, .part = ARENA_META, .len = 60, .fill = 'm'},
		"metadata"},
	{{.kind = AK_WRITE, .off = 20000, .len = 9, .fill = 'f'}, "moving"},
	{{.kind = AK_WRITE, .off = 70000, .len = 99, .fill = 'g'},
		"growing out of the small blocks"},
	{{.kind = AK_WRITE, .off = 69000, .len = 9000, .fill = 'h'},
		"overwriting and growing"},
	{{.kind = AK_TRUNCATE, .len = 66000}, "shortening by pages"},
	{{.kind = AK_TRUNCATE}, "emptying"},
	{{.kind = AK_DEL}, "removing"},
};

static void test_every_instruction(void)
{
	struct ak_model *m = calloc(1, sizeof(*m));
	const size_t map_len = (256u << 20) + (1u << 20);
	uint64_t state = seed();
	int fd = arena_create(ARENA_LIMIT_MIN);
	const char *map = mmap(NULL, map_len, PROT_READ, MAP_SHARED, fd, 0);
	uint32_t other;
	struct arena *a;

	must(m && fd >= 0 && map != MAP_FAILED && !arena_open(fd, &a));
	/* A neighbour, so that blocks cannot always grow in place. */
	must(!arena_file_new(a, &ak_plain, &other) &&
		!arena_pwrite(a, other, ARENA_BODY, 0, "neighbour", 9));
	for (size_t i = 0; i < VG_ARRAY_LEN(steps); i++) {
		struct ak_change c = steps[i].c;
		struct ak_slot *s = &m->slot[0];
		long n;

		c.attr = ak_attr(&state);
		s->idx = 1; /* the lowest that is free */
		n = look_through(fd, a, s, &c, map);
		if (n == -2)
			skip(1, "a child cannot be traced here");
		else
			ok(n > 0, "killed at any instruction of %s, all is old "
				"or new (%ld states)", steps[i].what, n);
		/* The child's work is lost to our view of the free space. */
		ak_apply(m, &c);
		arena_close(a);
		must(!arena_open(fd, &a));
	}
	arena_close(a);
	munmap((void *)(uintptr_t)map, map_len);
	close(fd);
	ak_fini(m);
}

int main(void)
{
	plan(19);
	alarm(300);
	test_kill();
	test_every_instruction();
	return done();
}
