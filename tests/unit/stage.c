/* SPDX-License-Identifier: Apache-2.0 */
/* stage: bytes that are no record yet, by name, by number and by offer. */
#include "fs/stage.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "src/manifest.h"
#include "tests/tap.h"

static struct collection *coll, *other;
static struct stages ss;
static struct arena *arena;

static struct collection *make_coll(uint32_t no)
{
	struct op_config config = {.metric = VG_L2, .index = VG_FLAT, .m = 16};
	struct op_attr attr = {.mode = 0755};
	uint8_t uuid[16] = {(uint8_t)no};
	struct collection *c;

	must(collection_new(no, uuid, &config, &attr, &c) == 0);
	return c;
}

static struct stage_place place_of(
	struct collection *c, enum stage_area area, const char *name)
{
	return (struct stage_place){.coll = c,
		.area = area,
		.name = {name, (uint32_t)strlen(name)}};
}

static struct stage *add(struct stage_place place, bool is_named)
{
	struct stage *st;

	must(stages_add(&ss, &place, is_named, 1000, &st) == 0);
	return st;
}

static struct stage *get(struct stage_place place)
{
	struct stage *st = stages_get_name(&ss, &place);

	if (st)
		stages_unref(&ss, st);
	return st;
}

static uint32_t n_files(void)
{
	struct arena_stat st;

	arena_stat(arena, &st);
	return st.n_files;
}

static void test_names(void)
{
	struct stage_place a = place_of(coll, STAGE_RECORD, "a");
	struct stage_place as = place_of(coll, STAGE_AS, "a");
	struct stage *st = add(a, true), *found, *again;
	uint64_t serial = st->serial;

	as.form = RECORD_NPY;
	ok(get(a) == st, "a named stage is found by its name");
	ok(!get(place_of(other, STAGE_RECORD, "a")) &&
			!get(place_of(coll, STAGE_META, "a")) && !get(as),
		"in its collection, area and form only");
	ok(stages_add(&ss, &a, true, 0, &again) == -EEXIST,
		"a name has one stage");
	found = stages_get(&ss, serial);
	ok(found == st, "a number finds it, too");
	stages_unref(&ss, found);
	ok(arena_file_get(arena, st->file)->uid == 1000 &&
			arena_file_get(arena, st->file)->name_len == 1,
		"the arena knows whose it is and what it is called");

	stages_unref(&ss, st);
	ok(get(a) == st && n_files() == 1, "it stays while it has its name");
	st = stages_get(&ss, serial);
	stages_del_name(&ss, st);
	ok(!get(a), "without its name it is not found by it");
	ok(n_files() == 1, "but there while somebody writes to it");
	stages_unref(&ss, st);
	ok(n_files() == 0 && !stages_get(&ss, serial), "then it goes");
	st = add(a, true);
	ok(st->serial != serial, "a number is never used again");
	stages_del_name(&ss, st);
	stages_unref(&ss, st);
}

static void test_rename(void)
{
	struct stage_place a = place_of(coll, STAGE_RECORD, ".a");
	struct stage_place b = place_of(coll, STAGE_RECORD, ".b");
	struct stage *st = add(a, true), *over = add(b, true);

	stages_unref(&ss, over);
	stages_rename(&ss, st, b.name);
	ok(get(b) == st && !get(a), "a renamed stage has its new name only");
	ok(n_files() == 1, "what had that name is gone");
	stages_rename(&ss, st, b.name);
	ok(get(b) == st, "its own name does it no harm");
	ok(!memcmp(arena_file_get(arena, st->file)->name, ".b", 2),
		"the arena knows");
	stages_del_name(&ss, st);
	stages_unref(&ss, st);
}

static void test_offers(void)
{
	struct stage_place a = place_of(coll, STAGE_RECORD, "a");
	struct stage_place b = place_of(coll, STAGE_RECORD, "b");
	struct stage *st, *mine;
	bool is_trunc = false;

	must(stages_offer(&ss, &a, 0, 77, &st) == 0);
	stages_unref(&ss, st);
	ok(!get(a), "an offer is not found by its name");
	ok(!stages_get_offer(&ss, &a, 78), "nor by anybody else");
	mine = stages_get_offer(&ss, &a, 77);
	ok(mine == st, "but by whom it was made for");
	stages_accept(&ss, mine);
	ok(!stages_get_offer(&ss, &a, 77), "once it is taken, no more");
	stages_unref(&ss, mine);
	ok(n_files() == 0, "and it goes with its handle");

	must(stages_offer(&ss, &a, 0, 77, &st) == 0);
	st->offered_ns -= 60 * 1000000000LL;
	stages_unref(&ss, st);
	mine = stages_get_offer(&ss, &a, 77);
	ok(mine == st, "an offer outlasts a minute's standstill");
	stages_unref(&ss, mine);
	st->offered_ns -= 240 * 1000000000LL;
	ok(!stages_get_offer(&ss, &a, 77), "but not five");
	stages_expire(&ss, st->used_ns + 300 * 1000000000LL);
	ok(n_files() == 0, "and is tidied up");

	must(stages_offer(&ss, &a, 0, 77, &st) == 0);
	stages_unref(&ss, st);
	must(stages_offer(&ss, &b, 0, 77, &st) == 0);
	ok(!stages_get_offer(&ss, &a, 77) && n_files() == 1,
		"the next one offered to the same thread is instead of it");
	ok(stages_withdraw(&ss, st) && !stages_withdraw(&ss, st),
		"an offer is withdrawn once");
	stages_unref(&ss, st);
	ok(n_files() == 0, "and goes");

	must(stages_offer(&ss, &a, 0, 0, &st) == 0);
	stages_unref(&ss, st);
	must(stages_offer(&ss, &b, 0, 0, &st) == 0);
	stages_unref(&ss, st);
	mine = stages_get_offer(&ss, &a, 0);
	ok(mine && !stages_get_offer(&ss, &a, 77),
		"threads of other pid namespaces, who look alike, share theirs");
	stages_accept(&ss, mine);
	stages_unref(&ss, mine);
	st = stages_get_offer(&ss, &b, 0);
	ok(st, "and do not take each other's away");
	stages_accept(&ss, st);
	stages_unref(&ss, st);

	ok(!stages_take_miss(&ss, 5, &is_trunc), "nobody missed anything yet");
	stages_put_miss(&ss, 5, true);
	ok(!stages_take_miss(&ss, 6, &is_trunc), "a miss is one caller's");
	ok(stages_take_miss(&ss, 5, &is_trunc) && is_trunc,
		"who is told how he opened");
	ok(!stages_take_miss(&ss, 5, &is_trunc), "once");
	stages_put_miss(&ss, 0, false);
	stages_put_miss(&ss, 5, true);
	ok(stages_take_miss(&ss, 0, &is_trunc) && !is_trunc &&
			stages_take_miss(&ss, 5, &is_trunc) && is_trunc,
		"each has his own");
}

static void test_expiry(void)
{
	struct stage_place a = place_of(coll, STAGE_RECORD, ".old");
	struct stage *st = add(a, true);
	int64_t later = st->used_ns + STAGE_KEPT_NS + 1;

	stages_expire(&ss, later);
	ok(get(a) == st, "what is open stays, however old");
	stages_unref(&ss, st);
	stages_expire(&ss, later - 2);
	ok(get(a) == st, "what was touched within a day stays");
	stages_expire(&ss, later);
	ok(!get(a) && n_files() == 0, "then it goes");
}

static void test_walk(void)
{
	const char *const names[] = {".x", ".y", ".z"};
	unsigned n = 0;
	uint64_t from = 0;
	struct stage *st;

	for (int i = 0; i < 3; i++)
		stages_unref(&ss,
			add(place_of(coll, STAGE_RECORD, names[i]), true));
	stages_unref(&ss, add(place_of(other, STAGE_RECORD, ".x"), true));
	while ((st = stages_next(&ss, coll, from))) {
		ok(st->serial > from, "stages come in the order of their making");
		from = st->serial;
		stages_del_name(&ss, st);
		stages_unref(&ss, st);
		n++;
	}
	ok(n == 3 && n_files() == 1, "those of one collection, each once");
}

static void test_bytes(void)
{
	struct stage *st = add(place_of(coll, STAGE_RECORD, "b"), false);
	size_t len;
	const char *bytes;

	must(arena_pwrite(arena, st->file, ARENA_BODY, 0, "1,2", 3) == 0);
	must(arena_pwrite(arena, st->file, ARENA_META, 0, "{}", 2) == 0);
	bytes = arena_bytes(arena, st->file, ARENA_BODY, &len);
	ok(len == 3 && !memcmp(bytes, "1,2", 3), "a stage keeps its body");
	bytes = arena_bytes(arena, st->file, ARENA_META, &len);
	ok(len == 2 && !memcmp(bytes, "{}", 2), "and its metadata apart");
	stages_unref(&ss, st);
}

static bool is_called(struct stage *st, const char *name)
{
	return st->name_len == strlen(name) && strcmp(st->name, name) == 0;
}

/* A stage is filled before its name leads to it. */
static void test_put_name(void)
{
	struct stage_place place = place_of(coll, STAGE_TX, "filled");
	struct stage *st = add(place, false), *second = add(place, false);

	ok(!stages_get_name(&ss, &place), "what is being filled has no name");
	ok(stages_put_name(&ss, st) == 0 &&
			stages_put_name(&ss, second) == -EEXIST,
		"of two that are called the same one gets it");
	stages_unref(&ss, second);
	stages_unref(&ss, st);
	second = stages_get_name(&ss, &place);
	ok(second == st, "whose name keeps it");
	stages_del_name(&ss, st);
	stages_unref(&ss, st);
	ok(!stages_get_name(&ss, &place), "until it is taken away");
}

/* A record is renamed while it is written under all its names. */
static void test_follow(void)
{
	struct stage *plain = add(place_of(coll, STAGE_RECORD, "f"), false);
	struct stage *meta = add(place_of(coll, STAGE_META, "f"), false);
	struct stage *request = add(place_of(coll, STAGE_QUERY, "f"), false);
	struct stage *elsewhere = add(place_of(other, STAGE_RECORD, "f"), false);
	struct stage *longer = add(place_of(coll, STAGE_RECORD, "ff"), false);
	struct stage *named = add(place_of(coll, STAGE_RECORD, "f"), true);
	struct stage *staged = add(place_of(coll, STAGE_TX, "f"), false);

	stages_follow(&ss, coll, (struct vg_id){"f", 1},
		(struct vg_id){"gg", 2});
	ok(is_called(plain, "gg") && is_called(meta, "gg"),
		"who writes to a record goes on under its new name");
	ok(arena_file_get(arena, plain->file)->name_len == 2,
		"which the arena knows");
	ok(is_called(request, "f") && is_called(elsewhere, "f") &&
			is_called(longer, "ff"),
		"who writes to something else does not");
	ok(is_called(named, "f"), "nor does a name that is no record yet");
	ok(is_called(staged, "f"), "nor what a transaction is looking up");
	stages_unref(&ss, staged);
	stages_unref(&ss, plain);
	stages_unref(&ss, meta);
	stages_unref(&ss, request);
	stages_unref(&ss, elsewhere);
	stages_unref(&ss, longer);
	stages_del_name(&ss, named);
	stages_unref(&ss, named);
}

/* Another daemon's view of the arena: everything that was known is known. */
static void test_load(void)
{
	struct stage_place place = place_of(coll, STAGE_AS, "kept");
	struct catalogue cat;
	struct stage *st, *anon, *again;
	uint64_t serial, anon_serial;
	uint32_t before = n_files();
	bool is_trunc = false;

	place.form = RECORD_NPY;
	st = add(place, true);
	anon = add(place_of(coll, STAGE_RECORD, "anon"), false);
	must(arena_pwrite(arena, st->file, ARENA_BODY, 0, "1,2", 3) == 0);
	must(stages_put_meta(&ss, st, (struct meta){"{\"a\":1}", 7}) == 0 &&
		stages_put_meta(&ss, st, (struct meta){"{\"b\":22}", 8}) == 0);
	st->is_dirty = st->is_excl = st->is_new = st->has_mtime = true;
	st->mtime_ns = 77;
	st->original = 12;
	stages_save(&ss, st);
	anon->n_in_flight = 1;
	stages_save(&ss, anon);
	add(place_of(other, STAGE_RECORD, "gone"), true);
	stages_put_miss(&ss, 4711, true);
	serial = st->serial;
	anon_serial = anon->serial;
	stages_fini(&ss);
	ok(n_files() == before + 3, "what is staged outlives who knew of it");
	catalogue_init(&cat);
	must(catalogue_load(&cat, &(struct manifest){.next_no = 3, .next_cursor = 9,
		     .next_gen = GENERATION_FIRST}) == 0);
	must(catalogue_load_collection(&cat, collection_ref(coll),
		     (struct vg_id){"c", 1}, 1) == 0);
	must(stages_init(&ss, arena) == 0 && stages_load(&ss, &cat) == 0);
	ok(!stages_next(&ss, other, 0), "a stage of a collection that is gone goes");
	again = get(place);
	ok(again && again->serial == serial && again->form == RECORD_NPY,
		"the next one finds it by its name and its number");
	ok(stages_get_meta(&ss, again).len == 8 &&
			!memcmp(stages_get_meta(&ss, again).json,
				"{\"b\":22}", 8),
		"with its metadata");
	must(stages_put_meta(&ss, again, (struct meta){"{}", 2}) == 0);
	ok(again->meta_off == 0 && stages_get_meta(&ss, again).len == 2,
		"which finds room before what was there");
	ok(again->is_dirty && again->is_excl && again->is_new &&
			again->has_mtime && again->mtime_ns == 77 &&
			again->original == 12 && !again->is_committed,
		"as it was");
	again = stages_get(&ss, anon_serial);
	ok(again && again->is_dirty && !again->is_named,
		"what was being committed is to be committed");
	stages_unref(&ss, again);
	ok(stages_take_miss(&ss, 4711, &is_trunc) && is_trunc,
		"who missed a stage is known");
	again = add(place_of(coll, STAGE_RECORD, "next"), true);
	ok(again->serial > anon_serial, "numbers are not used again");
	stages_del_name(&ss, again);
	stages_unref(&ss, again);
	again = stages_get(&ss, serial);
	stages_del_name(&ss, again);
	stages_unref(&ss, again);
	catalogue_fini(&cat);
}

int main(void)
{
	int fd;

	plan(61);
	fd = arena_create(64u << 20);
	must(fd >= 0 && arena_open(fd, &arena) == 0);
	must(stages_init(&ss, arena) == 0);
	coll = make_coll(1);
	other = make_coll(2);
	test_names();
	test_rename();
	test_offers();
	test_expiry();
	test_walk();
	test_bytes();
	test_follow();
	test_put_name();
	test_load();
	stages_expire(&ss, 0);
	stages_fini(&ss);
	ok(n_files() == 0, "in the end all are gone");
	ok(atomic_load(&coll->refs) == 1 && atomic_load(&other->refs) == 1,
		"with their references");
	arena_close(arena);
	close(fd);
	collection_unref(coll);
	collection_unref(other);
	return done();
}
