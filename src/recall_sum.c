/* SPDX-License-Identifier: Apache-2.0 */
/* recall_sum.c: estimates and intervals; see recall.h. */
#include <assert.h>
#include <math.h>

#include "src/recall.h"

double recall_group(uint32_t k)
{
	assert(k > 0);
	return VG_MIN(1.0, RECALL_GROUP / k);
}

void recall_add(struct recall_sum *sum, uint32_t found, uint32_t k)
{
	double miss = 1 - (double)found / k;

	assert(k > 0 && found <= k);
	sum->n++;
	sum->answers += k;
	sum->miss += miss;
	sum->miss2 += miss * miss;
	sum->group += recall_group(k);
}

/* Draws that would say as much of p as these queries do. */
static double draws(const struct recall_sum *sum, double p)
{
	double n = sum->n, group = sum->group / n;
	double between = sum->miss2 - sum->miss * sum->miss / n;
	double n_eff;

	if (sum->n > 1)
		between *= n / (n - 1);
	between = VG_MAX(between, 0.0); /* but for rounding it is not below */
	n_eff = n * (p * sum->miss + group) / (between + group * group);
	return VG_MIN(n_eff, (double)sum->answers);
}

struct recall_estimate recall_estimate(const struct recall_sum *sum)
{
	struct recall_estimate e = {.high = 1, .n = sum->n};
	double n, center, half;

	if (sum->n == 0)
		return e;
	e.recall = VG_MAX(0.0, 1 - sum->miss / sum->n);
	n = draws(sum, e.recall);
	center = e.recall + RECALL_Z2 / (2 * n);
	half = sqrt(RECALL_Z2 * (e.recall * (1 - e.recall) / n +
				       RECALL_Z2 / (4 * n * n)));
	e.low = VG_MAX(0.0, (center - half) / (1 + RECALL_Z2 / n));
	e.high = VG_MIN(1.0, (center + half) / (1 + RECALL_Z2 / n));
	assert(e.low <= e.recall && e.recall <= e.high + 1e-9);
	return e;
}

uint32_t recall_choose(
	const struct recall_ladder *ladder, double target, bool *is_met)
{
	const struct recall_sum *sum = ladder->sum;
	uint32_t best = 0;

	assert(ladder->n > 0 && ladder->n <= RECALL_RUNGS);
	for (uint32_t i = 0; i < ladder->n; i++) {
		assert(sum[i].n == sum[0].n);
		if (recall_estimate(&sum[i]).low >= target) {
			*is_met = true;
			return i;
		}
		if (sum[i].miss < sum[best].miss)
			best = i;
	}
	*is_met = false;
	return best;
}
