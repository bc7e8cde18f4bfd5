/* SPDX-License-Identifier: Apache-2.0 */
/* node: nodeids say what they are; names below query/ live while known. */
#include "fs/node.h"

#include <stdio.h>
#include <string.h>

#include "tests/tap.h"

static struct collection *coll, *other;

static struct collection *make_coll(uint32_t no)
{
	struct op_config config = {.metric = VG_L2, .index = VG_FLAT, .m = 16};
	struct op_attr attr = {.mode = 0755};
	uint8_t uuid[16] = {(uint8_t)no, 7};
	struct collection *c;

	must(collection_new(no, uuid, &config, &attr, &c) == 0);
	return c;
}

static struct qnode *add(struct nodes *ns, struct collection *c,
	const char *path, enum qnode_kind kind, uint32_t uid)
{
	struct qnode_path p = {.coll = c,
		.parent = 1,
		.path = {path, (uint32_t)strlen(path)},
		.kind = kind,
		.uid = uid};
	struct query q;
	struct qnode *node;

	query_init(&q);
	must(nodes_add(ns, &p, &q, &node) == 0);
	return node;
}

/* ---- nodeids ---- */

static bool is_same(struct node_ref a, struct node_ref b)
{
	return a.kind == b.kind && a.sub == b.sub && a.coll == b.coll &&
	       a.low == b.low;
}

static void test_codes(void)
{
	static const struct node_ref refs[] = {
		{.kind = NODE_ROOT_VIEW, .low = 3},
		{.kind = NODE_COLL, .coll = 0xffffff},
		{.kind = NODE_VIEW, .coll = 5, .low = 17},
		{.kind = NODE_RECORD, .coll = 1, .low = UINT32_MAX - 1},
		{.kind = NODE_AS, .sub = 4, .coll = 77, .low = 12},
		{.kind = NODE_META, .coll = 2, .low = 0},
		{.kind = NODE_ALIAS, .low = 1ull << 40},
		{.kind = NODE_STAGE, .low = (1ull << 55) + 3},
	};
	unsigned n_same = 0, n_distinct = 0;

	for (size_t i = 0; i < VG_ARRAY_LEN(refs); i++) {
		uint64_t id = node_encode(refs[i]);

		n_same += is_same(node_decode(id), refs[i]);
		for (size_t j = 0; j < i; j++)
			n_distinct += id != node_encode(refs[j]);
	}
	ok(n_same == VG_ARRAY_LEN(refs), "a nodeid reads back as it was made");
	ok(n_distinct == VG_ARRAY_LEN(refs) * (VG_ARRAY_LEN(refs) - 1) / 2,
		"no two of them are equal");
	ok(node_encode((struct node_ref){.kind = NODE_ROOT}) == 1 &&
			node_decode(1).kind == NODE_ROOT,
		"the root is 1, as FUSE has it");
}

/* ---- the table ---- */

static void test_table(struct nodes *ns)
{
	struct qnode *a = add(ns, coll, "k=5/", QNODE_DIR, 0);
	struct qnode *b = add(ns, coll, "k=5/", QNODE_DIR, 0);
	struct qnode *c = add(ns, coll, "k=5/id=x", QNODE_LEAF, 0);
	struct qnode *d = add(ns, other, "k=5/", QNODE_DIR, 0);
	struct qnode *e = add(ns, coll, "q1", QNODE_LEAF, 1000);
	struct qnode *f = add(ns, coll, "q1", QNODE_LEAF, 1001);
	uint64_t id = a->nodeid;

	ok(a == b, "the same path is the same node");
	ok(a != c && a != d && a->nodeid != c->nodeid &&
			a->nodeid != d->nodeid,
		"another path, or another collection, is another");
	ok(e != f && e->nodeid != f->nodeid,
		"a named request of another user is another");
	ok(ns->n == 5, "each is there once");
	ok(nodes_get(ns, id) == a, "a nodeid finds its node");
	nodes_unref(ns, a);
	ok(!nodes_get(ns, id + 1), "one that was never given finds none");

	nodes_unref(ns, a);
	nodes_unref(ns, b);
	nodes_forget(ns, id, 1);
	ok(ns->n == 5, "a node stays while a lookup is not forgotten");
	nodes_forget(ns, id, 1);
	ok(ns->n == 4 && !nodes_get(ns, id), "and goes with the last one");
	nodes_forget(ns, c->nodeid, 1);
	ok(nodes_get(ns, c->nodeid) == c, "a node in use stays, forgotten");
	nodes_unref(ns, c);
	nodes_unref(ns, c);
	ok(ns->n == 3, "until it is given back");

	a = add(ns, coll, "k=5/", QNODE_DIR, 0);
	ok(a->nodeid == id, "the same path has the same number again");
	nodes_unref(ns, a);
	nodes_forget(ns, id, 9);
	ok(ns->n == 3, "forgetting more than was looked up is harmless");
	nodes_forget(ns, 12345, 1);
	ok(ns->n == 3, "and so is forgetting what is not there");
	for (int i = 0; i < 3; i++) {
		struct qnode *node = i == 0 ? d : i == 1 ? e : f;

		nodes_forget(ns, node->nodeid, 1);
		nodes_unref(ns, node);
	}
	ok(ns->n == 0 && !ns->newest && !ns->oldest, "then none is left");
}

/* ---- pruning ---- */

#define MANY 40000u

static void *prune(void *arg)
{
	struct nodes *ns = arg;
	uint64_t ids[NODES_PRUNE];
	uint64_t total = 0;
	size_t n;

	while ((n = nodes_wait_prune(ns, ids, NODES_PRUNE)) > 0) {
		/* As the kernel answers: one FORGET for each. */
		for (size_t i = 0; i < n; i++)
			nodes_forget(ns, ids[i], 1);
		total += n;
	}
	return (void *)(uintptr_t)total;
}

static void test_pruning(struct nodes *ns)
{
	struct qnode *used = add(ns, coll, "held", QNODE_LEAF, 0);
	pthread_t thread;
	void *total;
	uint32_t most = 0;

	must(pthread_create(&thread, NULL, prune, ns) == 0);
	for (uint32_t i = 0; i < MANY; i++) {
		char path[32];
		struct qnode *node;

		snprintf(path, sizeof(path), "v=%u", i);
		node = add(ns, coll, path, QNODE_LEAF, 0);
		nodes_unref(ns, node);
		pthread_mutex_lock(&ns->lock);
		most = VG_MAX(most, ns->n);
		pthread_mutex_unlock(&ns->lock);
	}
	nodes_stop(ns);
	pthread_join(thread, &total);
	ok((uintptr_t)total > 0, "beyond a number names are asked back");
	ok(ns->n < MANY, "so not all of %u stay: %u", MANY, ns->n);
	diag("most at a time: %u", most);
	ok(nodes_get(ns, used->nodeid) == used, "what is in use is not asked");
	nodes_unref(ns, used);
	nodes_unref(ns, used);
}

static void test_answers(void)
{
	struct answer_bytes *a = calloc(1, sizeof(*a));

	must(a);
	atomic_init(&a->refs, 1);
	a->bytes = strdup("text");
	ok(answer_ref(a) == a && atomic_load(&a->refs) == 2,
		"an answer is counted");
	answer_unref(a);
	ok(strcmp(a->bytes, "text") == 0, "and there while anybody has it");
	answer_unref(a);
	answer_unref(NULL);
}

int main(void)
{
	static struct nodes ns;

	plan(23);
	coll = make_coll(1);
	other = make_coll(2);
	test_codes();
	nodes_init(&ns, 42, NULL);
	test_table(&ns);
	test_pruning(&ns);
	nodes_fini(&ns);
	test_answers();
	ok(atomic_load(&coll->refs) == 1 && atomic_load(&other->refs) == 1,
		"every reference on a collection was given back");
	collection_unref(coll);
	collection_unref(other);
	return done();
}
