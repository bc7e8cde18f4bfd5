/* SPDX-License-Identifier: Apache-2.0 */
/* explain.h: .stats/index and .stats/recall: what there is, and why. */
#ifndef FS_EXPLAIN_H
#define FS_EXPLAIN_H

#include <stdio.h>

#include "src/store.h"

/*
 * Writes lines "name: value" about c, a snapshot or not, as it is at the
 * moment: index and its settings, what walks go by (quant), each with the
 * reason where `auto` chose it, memory, the indexes of metadata's fields, and
 * what is made anew in the background. Any thread.
 */
void explain_index(struct store *s, struct collection *c, FILE *out);

/*
 * Writes how much of what is near searches find, with the ef that they go by,
 * as it was measured (src/tune.h): lines as above, and a paragraph for each
 * further class of k. What is not known is said to be so. c is no snapshot.
 * Any thread.
 */
void explain_recall(struct collection *c, FILE *out);

#endif
