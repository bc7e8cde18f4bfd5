/* SPDX-License-Identifier: Apache-2.0 */
/* data.c: see data.h. */
#include "tests/recall/data.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "index/flat.h"

#define HUGE_PAGE (2u << 20)
#define THREADS_MAX 64u

static void give_up(const char *what)
{
	fprintf(stderr, "no memory for %s\n", what);
	_Exit(99);
}

void data_init(struct data *d, uint32_t n, uint32_t dim, bool is_huge)
{
	size_t len = (size_t)n * dim * sizeof(float);
	char *p;

	memset(d, 0, sizeof(*d));
	d->len = VG_ALIGN_UP(len, HUGE_PAGE) + HUGE_PAGE;
	p = mmap(NULL, d->len, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		give_up("vectors");
	if (is_huge)
		madvise(p, d->len, MADV_HUGEPAGE);
	atomic_init(&d->chunk, p);
	d->vecs = (float *)(void *)p;
	d->n = n;
	d->dim = dim;
	d->rows.chunk = &d->chunk;
	d->rows.shift = 31;
	d->rows.stride = dim * (uint32_t)sizeof(float);
}

void data_fini(struct data *d)
{
	if (d->vecs)
		munmap(d->vecs, d->len);
	d->vecs = NULL;
}

/* A file's bytes, unzipped where it is gzipped; NULL: it cannot be read. */
static FILE *open_plain(const char *path)
{
	const char *end = strrchr(path, '.');
	char cmd[4200], buf[65536];
	FILE *pipe, *f;
	size_t n;

	if (!end || strcmp(end, ".gz") != 0)
		return fopen(path, "rb");
	snprintf(cmd, sizeof(cmd), "gzip -dc '%s'", path);
	pipe = popen(cmd, "r");
	f = tmpfile();
	while (pipe && f && (n = fread(buf, 1, sizeof(buf), pipe)) > 0)
		if (fwrite(buf, 1, n, f) != n)
			break;
	if (pipe)
		pclose(pipe);
	if (f)
		rewind(f);
	return f;
}

bool data_load_fvecs(struct data *d, const char *path, uint32_t max)
{
	FILE *f = open_plain(path);
	int32_t dim;
	long len;
	bool is_read = true;

	if (!f)
		return false;
	if (fread(&dim, sizeof(dim), 1, f) != 1 || dim < 1 ||
		dim > VG_DIM_MAX || fseek(f, 0, SEEK_END) != 0)
		goto close_file;
	len = ftell(f) / (4 * (dim + 1));
	rewind(f);
	data_init(d, VG_MIN(max, (uint32_t)len), (uint32_t)dim, true);
	for (uint32_t i = 0; i < d->n && is_read; i++)
		is_read = fread(&dim, sizeof(dim), 1, f) == 1 &&
			  (uint32_t)dim == d->dim &&
			  fread(d->vecs + (size_t)i * d->dim, sizeof(float),
				  d->dim, f) == d->dim;
	fclose(f);
	return is_read;
close_file:
	fclose(f);
	return false;
}

static uint32_t big_endian(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

bool data_load_idx(struct data *d, const char *path, uint32_t max, bool is_huge)
{
	unsigned char head[16], image[4096];
	char cmd[4200];
	bool is_read = false;
	uint32_t dim;
	FILE *f;

	snprintf(cmd, sizeof(cmd), "gzip -dc '%s'", path);
	f = popen(cmd, "r");
	if (!f)
		return false;
	if (fread(head, sizeof(head), 1, f) != 1 || big_endian(head) != 0x803)
		goto close_pipe;
	dim = big_endian(head + 8) * big_endian(head + 12);
	if (dim < 1 || dim > sizeof(image))
		goto close_pipe;
	data_init(d, VG_MIN(max, big_endian(head + 4)), dim, is_huge);
	is_read = true;
	for (uint32_t i = 0; i < d->n && is_read; i++) {
		is_read = fread(image, dim, 1, f) == 1;
		for (uint32_t j = 0; j < dim; j++)
			d->vecs[(size_t)i * dim + j] = image[j];
	}
close_pipe:
	pclose(f);
	return is_read;
}

struct truth_part {
	pthread_t thread;
	const struct truth *truth;
	float *out;
	uint32_t first;
};

static void *scan_part(void *arg)
{
	const struct truth_part *part = arg;
	const struct truth *t = part->truth;
	struct hit *hits = calloc(t->k, sizeof(*hits));

	if (!hits)
		give_up("answers");
	for (uint32_t q = part->first; q < t->queries->n; q += t->threads) {
		struct topk top;
		struct flat_query query = {
			.vec = t->queries->vecs + (size_t)q * t->queries->dim,
			.dim = t->base->dim,
			.metric = t->metric,
			.is_visible = t->is_visible,
			.ctx = t->ctx,
		};

		topk_init(&top, hits, t->k, NULL, NULL);
		flat_scan(&query, &t->base->rows, 0, t->base->n, &top);
		topk_sort(&top);
		for (uint32_t i = 0; i < t->k; i++)
			part->out[(size_t)q * t->k + i] =
				i < top.n ? hits[i].dist : __builtin_inff();
	}
	free(hits);
	return NULL;
}

float *truth_new(const struct truth *t)
{
	struct truth_part part[THREADS_MAX];
	float *out = calloc((size_t)t->queries->n * t->k, sizeof(*out));

	if (!out || t->threads > THREADS_MAX)
		give_up("ground truth");
	for (uint32_t i = 0; i < t->threads; i++) {
		part[i] =
			(struct truth_part){.truth = t, .out = out, .first = i};
		if (pthread_create(&part[i].thread, NULL, scan_part,
			    &part[i]) != 0)
			give_up("a thread");
	}
	for (uint32_t i = 0; i < t->threads; i++)
		pthread_join(part[i].thread, NULL);
	return out;
}

uint32_t truth_count(const struct truth *t, const float *truth, uint32_t q,
	const struct hit *hits, uint32_t n)
{
	float kth = truth[(size_t)q * t->k + t->k - 1];
	uint32_t count = 0;

	for (uint32_t i = 0; i < n && i < t->k; i++)
		count += hits[i].dist <= kth;
	return count;
}
