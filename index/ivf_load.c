/* SPDX-License-Identifier: Apache-2.0 */
/* ivf_load.c: an inverted file from a stream, whatever its bytes are. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "index/ivf_stream.h"

#define CENTROID_MAX 0x1p51f /* longer than a row with a code can be */

struct loader {
	const struct ivf_config *config;
	const struct ivf_source *source;
	struct ivf_core *core;
	struct ivf_header header;
	uint32_t n_rows;
	const char *why;
	int rc; /* sticky */
};

static void fail(struct loader *ld, const char *why)
{
	if (ld->rc == 0) {
		ld->rc = -VG_ECORRUPT;
		ld->why = why;
	}
}

static void get_bytes(struct loader *ld, void *buf, size_t len)
{
	if (ld->rc == 0 && len > 0)
		ld->rc = ld->source->read(ld->source->ctx, buf, len);
}

static void get_header(struct loader *ld, uint32_t kind)
{
	struct ivf_header *h = &ld->header;

	get_bytes(ld, h, sizeof(*h));
	if (ld->rc < 0)
		return;
	if (memcmp(h->magic, IVF_MAGIC, 8) != 0)
		fail(ld, "it is no inverted file");
	if (h->version != IVF_STREAM_VERSION || h->kind != kind)
		fail(ld, "it is of another version or kind");
	if (h->dim != ld->config->dim || h->metric != ld->config->metric)
		fail(ld, "it has other settings than its collection");
	if (h->n_lists > IVF_LISTS_MAX ||
		h->n_groups != kmeans_groups_for(h->n_lists) ||
		(h->n_lists > 0 ?
				h->m == 0 || h->m > h->dim || h->m > PQ_M_MAX :
				h->m != 0))
		fail(ld, "its numbers of lists or of bytes cannot be");
	if (h->trained > IVF_SLOT_MAX || h->n > ld->n_rows)
		fail(ld, "it has more rows than there are");
}

/* ---- what was learnt ---- */

static void get_groups(struct loader *ld)
{
	struct ivf_core *core = ld->core;
	uint32_t *from, n = ld->header.n_groups;
	int rc;

	assert(core->n_lists > 0);
	from = malloc((n + 1) * sizeof(*from));
	if (!from) {
		ld->rc = -ENOMEM;
		return;
	}
	if (n > 0)
		get_bytes(ld, from, (n + 1) * sizeof(*from));
	get_bytes(ld, core->centroids,
		(size_t)core->n_lists * core->dim * sizeof(*core->centroids));
	for (size_t i = 0; ld->rc == 0 && i < (size_t)core->n_lists * core->dim;
		i++)
		if (!(fabsf(core->centroids[i]) <= CENTROID_MAX))
			fail(ld, "a centroid is no number that it can be");
	if (ld->rc == 0) {
		rc = kmeans_tree_init(&core->tree, core->centroids,
			core->n_lists, core->dim, from);
		if (rc == -EINVAL)
			fail(ld, "its groups of lists do not ascend");
		else
			ld->rc = rc;
	}
	free(from);
}

static void get_learnt(struct loader *ld)
{
	struct ivf_core *core = ld->core;
	uint32_t m = ld->header.m;

	assert(core->n_lists == ld->header.n_lists);
	core->trained = ld->header.trained;
	if (core->n_lists == 0)
		return;
	get_groups(ld);
	if (ld->rc == 0)
		ld->rc = pq_new(&core->pq, core->dim, m);
	if (ld->rc == 0)
		get_bytes(ld, core->pq.points, pq_points_len(core->dim, m));
	if (ld->rc == 0 && !pq_is_valid(&core->pq))
		fail(ld, "the points of its codes are not valid");
}

/* ---- lists ---- */

static void get_record(struct loader *ld, uint32_t list, uint8_t *bytes)
{
	struct ivf_core *core = ld->core;
	struct ivf_record record = {.list = list};
	int rc;

	assert(list <= core->n_lists);
	get_bytes(ld, bytes, ivf_record_len(core, list));
	if (ld->rc < 0)
		return;
	memcpy(&record.slot, bytes, sizeof(record.slot));
	if (list < core->n_lists) {
		memcpy(&record.term, bytes + 4, sizeof(record.term));
		record.code = bytes + 8;
	}
	if (record.slot >= ld->n_rows || record.slot >= IVF_SLOT_MAX)
		fail(ld, "it names a row that is not there");
	if (!isfinite(record.term))
		fail(ld, "a row has a term that is no number");
	if (ld->rc < 0)
		return;
	rc = ivf_core_add(core, &record);
	if (rc == -EEXIST)
		fail(ld, "it names a row twice");
	else
		ld->rc = rc;
}

static void get_records(struct loader *ld, const uint32_t *n)
{
	struct ivf_core *core = ld->core;
	uint8_t bytes[8 + PQ_M_MAX];

	assert(ivf_record_len(core, 0) <= sizeof(bytes));
	for (uint32_t i = 0; i <= core->n_lists && ld->rc == 0; i++) {
		for (uint32_t j = 0; j < n[i] && ld->rc == 0; j++)
			get_record(ld, i, bytes);
		atomic_store_explicit(&core->list[i].n_saved,
			atomic_load_explicit(&core->list[i].n,
				memory_order_relaxed),
			memory_order_relaxed);
	}
}

static void get_lists(struct loader *ld)
{
	struct ivf_core *core = ld->core;
	uint32_t *n = malloc((core->n_lists + 1) * sizeof(*n));
	uint64_t sum = 0;
	char end[8];

	if (!n) {
		ld->rc = ld->rc < 0 ? ld->rc : -ENOMEM;
		return;
	}
	get_bytes(ld, n, (core->n_lists + 1) * sizeof(*n));
	for (uint32_t i = 0; i <= core->n_lists && ld->rc == 0; i++)
		sum += n[i];
	if (sum != ld->header.n)
		fail(ld, "its lists have not as many rows as it says");
	get_records(ld, n);
	get_bytes(ld, end, sizeof(end));
	if (ld->rc == 0 && memcmp(end, IVF_END, sizeof(end)) != 0)
		fail(ld, "it does not end where it should");
	if (ld->rc == 0) {
		core->is_saved = true;
		core->n_saved =
			atomic_load_explicit(&core->n, memory_order_relaxed);
	}
	free(n);
}

int ivf_load_base(const struct ivf_config *config, const struct rows *rows,
	uint32_t n_rows, const struct ivf_source *source, const char **why,
	struct ivf **out)
{
	struct loader ld = {.config = config,
		.source = source,
		.n_rows = n_rows};
	struct ivf *v;

	ld.rc = ivf_new(config, rows, &v);
	if (ld.rc < 0)
		return ld.rc;
	get_header(&ld, IVF_KIND_BASE);
	if (ld.rc == 0 && ld.header.n_before != 0)
		fail(&ld, "it is no base");
	if (ld.rc == 0)
		ld.rc = ivf_core_new(config->dim, ld.header.n_lists, &ld.core);
	if (ld.rc == 0) {
		assert(v->core->refs == 1);
		ivf_core_free(v->core);
		v->core = ld.core;
		get_learnt(&ld);
	}
	if (ld.rc == 0)
		get_lists(&ld);
	if (ld.rc < 0) {
		if (ld.rc == -VG_ECORRUPT && ld.why)
			*why = ld.why;
		ivf_free(v);
		return ld.rc;
	}
	if (v->core->n_lists > 0)
		v->train_at = ivf_next_train(v->core->trained);
	*out = v;
	return 0;
}

int ivf_load_delta(struct ivf *v, uint32_t n_rows,
	const struct ivf_source *source, const char **why)
{
	struct loader ld = {.config = &v->config,
		.source = source,
		.n_rows = n_rows,
		.core = v->core};

	get_header(&ld, IVF_KIND_DELTA);
	if (ld.rc == 0 && (ld.header.n_lists != v->core->n_lists ||
				  ld.header.m != v->core->pq.m ||
				  ld.header.n_before != v->core->n_saved))
		fail(&ld, "it does not continue what was saved before");
	if (ld.rc == 0)
		get_lists(&ld);
	if (ld.rc == -VG_ECORRUPT && ld.why)
		*why = ld.why;
	return ld.rc;
}
