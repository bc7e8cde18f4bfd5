/* SPDX-License-Identifier: Apache-2.0 */
/* named: a named request is one user's, and goes when it is not used. */
#include "fs/named.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/manifest.h"
#include "tests/tap.h"

static struct collection *make_coll(uint32_t no)
{
	struct op_config config = {.metric = VG_L2, .index = VG_FLAT, .m = 16};
	struct op_attr attr = {.mode = 0755};
	uint8_t uuid[16] = {(uint8_t)no};
	struct collection *c;

	must(collection_new(no, uuid, &config, &attr, &c) == 0);
	return c;
}

static struct named_key key_of(
	const struct collection *c, uint32_t uid, const char *name)
{
	return (struct named_key){c, uid, {name, (uint32_t)strlen(name)}};
}

static void put(struct named *nd, struct named_key key, float first)
{
	float vecs[4] = {first, 1, 2, 3};

	must(named_put(nd, &key, &(struct record_batch){vecs, 2, 2, VG_F32}) == 0);
}

static float number(const struct named_request *r)
{
	float first;

	memcpy(&first, r->vecs, sizeof(first));
	return first;
}

/* The first number of a request, or -1. */
static float first_of(struct named *nd, struct named_key key)
{
	struct named_request *r = named_get(nd, &key);
	float first = r ? number(r) : -1;

	named_unref(r);
	return first;
}

static void test_keys(struct named *nd, struct collection *a,
	struct collection *b)
{
	struct named_key key = key_of(a, 0, "q1");
	struct named_request *old, *r;

	put(nd, key, 10);
	put(nd, key_of(a, 1000, "q1"), 20);
	put(nd, key_of(b, 0, "q1"), 30);
	put(nd, key_of(a, 0, "q2"), 40);
	ok(first_of(nd, key) == 10, "a request is found by its name");
	ok(first_of(nd, key_of(a, 1000, "q1")) == 20, "another user has his own");
	ok(first_of(nd, key_of(b, 0, "q1")) == 30, "another collection, too");
	ok(first_of(nd, key_of(a, 0, "q")) == -1, "a beginning is no name");
	ok(first_of(nd, key_of(a, 0, "q11")) == -1, "nor is something longer");

	old = named_get(nd, &key);
	put(nd, key, 11);
	r = named_get(nd, &key);
	ok(number(r) == 11 && r->n == 2 && r->dim == 2, "writing replaces");
	ok(number(old) == 10, "who has the old one keeps it");
	ok(r->number > old->number, "and can tell that it is older");
	ok(r->mtime_ns >= old->mtime_ns, "by its time as well");
	named_unref(old);
	named_unref(r);

	ok(named_del(nd, &key) == 0 && first_of(nd, key) == -1,
		"a deleted request is gone");
	ok(named_del(nd, &key) == -ENOENT, "once");
	ok(first_of(nd, key_of(a, 0, "q2")) == 40, "others stay");
}

static void test_expiry(struct named *nd, struct collection *a)
{
	struct named_key used = key_of(a, 0, "used");
	struct named_key idle = key_of(a, 0, "idle");

	put(nd, used, 1);
	put(nd, idle, 2);
	named_expire(nd);
	ok(first_of(nd, used) == 1 && first_of(nd, idle) == 2,
		"what was used within the hour stays");
	pthread_mutex_lock(&nd->lock);
	for (struct named_request *r = nd->list; r; r = r->next)
		r->used_ns -= NAMED_KEPT_NS + 1;
	pthread_mutex_unlock(&nd->lock);
	ok(first_of(nd, used) == 1, "using one counts");
	named_expire(nd);
	ok(first_of(nd, used) == 1 && first_of(nd, idle) == -1,
		"what was not used for an hour goes");
}

static void test_room(struct named *nd, struct collection *a)
{
	uint32_t dim = 1u << 16, n = 1000; /* a quarter of the room */
	float *vecs = calloc((size_t)n * dim, sizeof(*vecs));
	const char *const names[] = {"a", "b", "c", "d", "e"};
	unsigned n_left = 0;

	must(vecs);
	for (int i = 0; i < 5; i++) {
		struct named_key key = key_of(a, 0, names[i]);
		struct named_request *r;

		must(named_put(nd, &key,
			     &(struct record_batch){vecs, n, dim, VG_F32}) == 0);
		r = named_get(nd, &key);
		r->used_ns += i; /* an order that a coarse clock keeps */
		named_unref(r);
	}
	ok(nd->bytes <= NAMED_BYTES_MAX, "requests take a GiB at the most");
	ok(first_of(nd, key_of(a, 0, "e")) == 0, "the newest is there");
	for (int i = 0; i < 5; i++)
		n_left += first_of(nd, key_of(a, 0, names[i])) == 0;
	ok(n_left >= 3 && n_left < 5, "the longest unused went: %u of 5 left",
		n_left);
	free(vecs);
}

static uint32_t n_files(struct arena *arena)
{
	struct arena_stat st;

	arena_stat(arena, &st);
	return st.n_files;
}

/* A daemon that is killed while somebody still asks what was replaced. */
static void be_killed(struct arena *arena, struct named_key key)
{
	pid_t pid = fork();
	struct named nd;
	int status;

	must(pid >= 0);
	if (pid == 0) {
		named_init(&nd, arena);
		put(&nd, key, 1);
		must(named_get(&nd, &key));
		put(&nd, key, 2);
		_exit(0);
	}
	must(waitpid(pid, &status, 0) == pid && status == 0);
}

static void test_arena(struct collection *c)
{
	struct named_key key = key_of(c, 0, "q");
	struct named_request *old;
	struct catalogue cat;
	struct arena *arena;
	struct named nd;
	int fd = arena_create(ARENA_LIMIT_MIN);

	must(fd >= 0 && arena_open(fd, &arena) == 0);
	must(catalogue_init(&cat) == 0);
	must(catalogue_load(&cat, &(struct manifest){.next_no = 3,
		     .next_cursor = 9, .next_gen = GENERATION_FIRST}) == 0);
	must(catalogue_load_collection(&cat, collection_ref(c),
		     (struct vg_id){"c", 1}, 1) == 0);
	be_killed(arena, key);
	arena_close(arena);
	must(arena_open(fd, &arena) == 0);
	named_init(&nd, arena);
	ok(n_files(arena) == 2 && named_load(&nd, &cat) == 0 &&
			first_of(&nd, key) == 2 && n_files(arena) == 1,
		"after a kill the rows that were written last are there alone");
	old = named_get(&nd, &key);
	put(&nd, key, 3);
	ok(number(old) == 2 && !old->own && n_files(arena) == 2,
		"who asks what is replaced reads on in the arena");
	named_unref(old);
	ok(first_of(&nd, key) == 3 && n_files(arena) == 1,
		"and gives its place back");
	named_fini(&nd);
	ok(n_files(arena) == 1, "the end leaves the next daemon what there is");
	catalogue_fini(&cat);
	arena_close(arena);
	close(fd);
}

int main(void)
{
	struct collection *a = make_coll(1), *b = make_coll(2);
	struct named nd;

	plan(24);
	named_init(&nd, NULL);
	test_keys(&nd, a, b);
	test_expiry(&nd, a);
	test_room(&nd, a);
	test_arena(a);
	named_fini(&nd);
	ok(!nd.list && nd.bytes == 0, "nothing is left behind");
	named_unref(NULL);
	named_init(&nd, NULL);
	named_fini(&nd);
	ok(!nd.list, "an empty one ends as well");
	collection_unref(a);
	collection_unref(b);
	return done();
}
