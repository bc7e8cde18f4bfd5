/* SPDX-License-Identifier: Apache-2.0 */
/* churn.h: recall of a graph as it is built, overwritten, thinned out. */
#ifndef TESTS_RECALL_CHURN_H
#define TESTS_RECALL_CHURN_H

#include "index/hnsw.h"
#include "tests/recall/data.h"

/*
 * Says in CHURN_TESTS sentences that recall@10 at ef=100 holds in each state:
 * all rows linked by one thread; 30 % of them overwritten (the old slots
 * hidden, the new vectors in new slots); 30 % of the rest deleted; and built
 * by four threads beside two that search; and that it is no less while two put
 * more. `base` has n vectors, then 3 in 10
 * more, the new ones. Queries are asked under `metric`; walks go by `codes`.
 */
#define CHURN_TESTS 9

void churn(const char *name, struct data *base, uint32_t n,
	const struct data *queries, enum vg_metric metric,
	enum hnsw_codes codes);

#endif
