/* SPDX-License-Identifier: Apache-2.0 */
/* store_mutants.c: power cuts notice each protection that is missing. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/collection_file.h"
#include "src/log.h"
#include "src/store_int.h"
#include "src/wal_int.h"
#include "src/wire.h"
#include "tests/mutants.h"
#include "tests/powerkit.h"
#include "tests/tap.h"

/* ---- functions of the store, through the linker's --wrap ---- */

bool __real_wire_frame_check(const struct wire_frame *f,
	const struct wire_salt *salt, const void *frame);
bool __wrap_wire_frame_check(const struct wire_frame *f,
	const struct wire_salt *salt, const void *frame);
uint64_t __real_wire_hash(const void *bytes, size_t len);
uint64_t __wrap_wire_hash(const void *bytes, size_t len);
uint64_t __real_wire_hash_pair(
	const void *a, size_t a_len, const void *b, size_t b_len);
uint64_t __wrap_wire_hash_pair(
	const void *a, size_t a_len, const void *b, size_t b_len);
int __real_wal_write(struct wal *wal, bool sync);
int __wrap_wal_write(struct wal *wal, bool sync);
int __real_collection_sync(
	const struct collection_files *files, struct generation *g);
int __wrap_collection_sync(
	const struct collection_files *files, struct generation *g);
int __real_manifest_save(struct io *io, int dirfd, const struct manifest *m);
int __wrap_manifest_save(struct io *io, int dirfd, const struct manifest *m);
int __real_manifest_renew(struct io *io, int dirfd, uint64_t number);
int __wrap_manifest_renew(struct io *io, int dirfd, uint64_t number);
void __real_store_fail(struct store *s, int rc, const char *what);
void __wrap_store_fail(struct store *s, int rc, const char *what);

int __real_wal_append(struct wal *wal, enum wal_frame_type type,
	const struct wal_part *parts, unsigned n, bool frees);
int __wrap_wal_append(struct wal *wal, enum wal_frame_type type,
	const struct wal_part *parts, unsigned n, bool frees);
struct generation *__real_collection_next_gen(
	struct collection *c, struct generation *g, enum gens which);
struct generation *__wrap_collection_next_gen(
	struct collection *c, struct generation *g, enum gens which);

int __wrap_wal_append(struct wal *wal, enum wal_frame_type type,
	const struct wal_part *parts, unsigned n, bool frees)
{
	struct wire_in in;
	int rc = 0;

	if (mutant != M_ATOMIC || type != WAL_OPS)
		return __real_wal_append(wal, type, parts, n, frees);
	in = wire_in_init(parts[0].bytes, parts[0].len);
	for (uint32_t i = wire_get_u32(&in); i > 0 && rc == 0; i--) {
		struct wal_part op;
		uint32_t len;

		op.bytes = wire_get_str(&in, 1, WIRE_PAYLOAD_MAX, &len);
		op.len = len;
		rc = __real_wal_append(wal, WAL_OP, &op, 1, frees);
	}
	return rc;
}

struct generation *__wrap_collection_next_gen(
	struct collection *c, struct generation *g, enum gens which)
{
	if (mutant != M_PAST || !g)
		return __real_collection_next_gen(c, g, which);
	generation_unref(g);
	return NULL;
}

bool __wrap_wire_frame_check(const struct wire_frame *f,
	const struct wire_salt *salt, const void *frame)
{
	return mutant == M_LOG_SUM || __real_wire_frame_check(f, salt, frame);
}

/* The flipped byte, if it lies there and the mutant overlooks it. */
static uint8_t *overlooked(const void *bytes, size_t len)
{
	uint8_t *at = atomic_load(&mutant_flipped);
	bool is_manifest = strncmp(pk_flip.path, "MANIFEST.", 9) == 0;
	bool is_column = strncmp(pk_flip.path, "c/", 2) == 0;

	if (!at || at < (const uint8_t *)bytes ||
		at >= (const uint8_t *)bytes + len ||
		!((mutant == M_MANIFEST_SUM && is_manifest) ||
			(mutant == M_COLUMN_SUM && is_column)))
		return NULL;
	return at;
}

uint64_t __wrap_wire_hash(const void *bytes, size_t len)
{
	uint8_t *at = overlooked(bytes, len);
	uint64_t hash;

	if (at)
		*at ^= pk_flip.bits;
	hash = __real_wire_hash(bytes, len);
	if (at)
		*at ^= pk_flip.bits;
	return hash;
}

uint64_t __wrap_wire_hash_pair(
	const void *a, size_t a_len, const void *b, size_t b_len)
{
	uint8_t *at = overlooked(a, a_len);
	uint64_t hash;

	if (!at)
		at = overlooked(b, b_len);
	if (at)
		*at ^= pk_flip.bits;
	hash = __real_wire_hash_pair(a, a_len, b, b_len);
	if (at)
		*at ^= pk_flip.bits;
	return hash;
}

int __wrap_wal_write(struct wal *wal, bool sync)
{
	int rc = __real_wal_write(wal, sync && mutant != M_ACK);

	return mutant == M_APPLY && rc < 0 && !io_is_full(rc) ? 0 : rc;
}

/* What is to be synced after the manifest; of other lives, too: those of who
 * judges, in the midst of a call of who is judged. */
static _Thread_local struct {
	struct collection_files files;
	struct generation *g;
} late[64];
static _Thread_local unsigned n_late;

int __wrap_collection_sync(
	const struct collection_files *files, struct generation *g)
{
	if (mutant != M_EARLY_MANIFEST)
		return __real_collection_sync(files, g);
	must(n_late < VG_ARRAY_LEN(late));
	late[n_late].files = *files;
	late[n_late++].g = g;
	return 0;
}

struct cut_log {
	struct io *io;
	int dirfd;
	uint64_t segment;
};

static int cut_segment(void *ctx, const char *name)
{
	struct cut_log *c = ctx;
	uint64_t number;

	if (wal_name_parse(name, &number) && number < c->segment)
		c->io->unlink(c->io, c->dirfd, name);
	return 0;
}

static void cut_log(struct io *io, int dirfd, uint64_t segment)
{
	struct cut_log c = {.io = io, .segment = segment};

	c.dirfd = io->open(io, dirfd, "wal", O_RDONLY | O_DIRECTORY);
	if (c.dirfd < 0)
		return;
	io->list(io, c.dirfd, cut_segment, &c);
	io->sync(io, c.dirfd);
	io->close(io, c.dirfd);
}

int __wrap_manifest_save(struct io *io, int dirfd, const struct manifest *m)
{
	int rc;

	if (mutant == M_EARLY_CUT)
		cut_log(io, dirfd, m->segment);
	rc = __real_manifest_save(io, dirfd, m);
	if (mutant == M_EARLY_MANIFEST && rc == 0)
		cut_log(io, dirfd, m->segment);
	while (n_late > 0 && late[n_late - 1].files.io == io) {
		struct collection_files files = late[--n_late].files;
		int late_rc = __real_collection_sync(&files, late[n_late].g);

		rc = rc < 0 ? rc : late_rc;
	}
	return rc;
}

int __wrap_manifest_renew(struct io *io, int dirfd, uint64_t number)
{
	return mutant == M_RENEW ? 0
				 : __real_manifest_renew(io, dirfd, number);
}

void __wrap_store_fail(struct store *s, int rc, const char *what)
{
	if (mutant != M_RETRY)
		__real_store_fail(s, rc, what);
}

/* ---- the mutants ---- */

static const struct {
	enum pk_kind kind; /* of the runs that notice it */
	const char *what;
} table[MUTANTS] = {
	[M_NONE] = {PK_SYNC, "nothing missing, syncs of directories fail"},
	[M_SYNC_LOG] = {PK_HONEST, "no sync of the log"},
	[M_SYNC_LOG_DIR] = {PK_HONEST, "no sync of wal/"},
	[M_SYNC_ROWS] = {PK_HONEST, "no sync of the columns' rows"},
	[M_SYNC_SUMS] = {PK_HONEST, "no sync of the columns' sums"},
	[M_SYNC_MANIFEST] = {PK_HONEST, "no sync of the manifest"},
	[M_SYNC_ROOT] = {PK_HONEST, "no sync of the data directory"},
	[M_SYNC_C] = {PK_HONEST, "no sync of c/"},
	[M_SYNC_UUID] = {PK_HONEST, "no sync of a collection's directory"},
	[M_SYNC_FORMAT] = {PK_HONEST, "no sync of FORMAT"},
	[M_SYNC_GRAPH] = {PK_HONEST, "no sync of graphs, which others stand for"},
	[M_TAIL] = {PK_HONEST, "a torn tail is not cut"},
	[M_SURE] = {PK_SYNC, "what was read of the log is taken for safe"},
	[M_DIRS] = {PK_SYNC, "a directory that was found is taken for safe"},
	[M_GRACE] = {PK_HONEST, "what a copy under way needs goes at once"},
	[M_LINKS] = {PK_HONEST, "a file that a copy shares is written to"},
	[M_MAP] = {PK_FULL_GROWS, "columns are written through a shared mapping"},
	[M_LOG_SUM] = {PK_HONEST, "the log's checksums are not looked at"},
	[M_MANIFEST_SUM] = {PK_HONEST, "the manifest's are not"},
	[M_COLUMN_SUM] = {PK_HONEST, "the columns' are not"},
	[M_ACK] = {PK_HONEST, "an answer before the sync"},
	[M_APPLY] = {PK_SYNC, "a change is applied that the log has not"},
	[M_EARLY_MANIFEST] = {PK_HONEST, "manifest and cut of the log before the columns"},
	[M_EARLY_CUT] = {PK_HONEST, "the cut of the log before the manifest"},
	[M_RENEW] = {PK_SYNC, "a manifest that was found is taken for safe"},
	[M_RETRY] = {PK_SYNC, "a failed sync is tried again"},
	[M_ATOMIC] = {PK_HONEST, "changes that go in together, a frame each"},
	[M_PAST] = {PK_HONEST, "what only snapshots show is in no manifest"},
};

/* Runs of a mutant until one is bad, or so many states were not. */
static void hunt(enum mutant m, uint64_t from, uint64_t most,
	struct pk_tally *t)
{
	uint64_t dice = from;

	mutant = m;
	*t = (struct pk_tally){.stops = true};
	while (t->lost == 0 && t->states < most) {
		struct pk_config cfg;

		dice = dice * 6364136223846793005ull + 1442695040888963407ull;
		pk_draw_config(table[m].kind, dice >> 16, &cfg);
		if (m == M_TAIL) { /* frames where others were */
			cfg.is_same = true;
			cfg.durability = STORE_FSYNC;
			cfg.segment_size = 1u << 20;
			cfg.flips = 0;
		}
		if (m == M_GRACE) {
			cfg.copies = true;
			cfg.keeps = false;
		}
		if (m == M_LINKS) {
			cfg.links = true;
			cfg.checkpoint_bytes = 1ull << 40;
		}
		if (m >= M_LOG_SUM && m <= M_COLUMN_SUM)
			cfg.flips = 1; /* in each state */
		cfg.wrap = mutant_wrap;
		cfg.unwrap = mutant_unwrap;
		pk_run(&cfg, dice >> 16, t);
	}
}

/* In a process of its own: a mutant may end it by an assertion. */
static bool is_noticed(enum mutant m, uint64_t most, struct pk_tally *t)
{
	pid_t pid = fork();
	int status;

	must(pid >= 0);
	if (pid == 0) {
		must(freopen("/dev/null", "w", stderr));
		hunt(m, seed(), most, t);
		_Exit(0);
	}
	must(waitpid(pid, &status, 0) == pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		t->lost++;
		snprintf(t->why, sizeof(t->why), "an assertion");
	}
	return t->lost > 0;
}

int main(void)
{
	uint64_t most = (uint64_t)env_long("VG_MUTANT_STATES",
		env_long("VG_SOAK", 0) ? 200000 : 40000);
	long only = env_long("VG_MUTANT", -1);
	struct pk_tally *t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int n = 0;

	must(t != MAP_FAILED);
	for (int m = 0; m < MUTANTS; m++)
		n += table[m].what && (only < 0 || only == m);
	plan(n);
	log_level_set(LOG_ERR);
	seed();
	for (int m = 0; m < MUTANTS; m++) {
		bool is_control = m == M_NONE || m == M_SYNC_GRAPH;

		if (!table[m].what || (only >= 0 && only != m))
			continue;
		if (is_noticed((enum mutant)m, is_control ? most / 40 : most, t))
			diag("%s", t->why);
		ok((t->lost > 0) != is_control, "%s: %s after %llu states",
			table[m].what, is_control ? "right" : "noticed",
			(unsigned long long)t->states);
	}
	return done();
}
