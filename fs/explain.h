/* SPDX-License-Identifier: Apache-2.0 */
/* explain.h: .stats/index: what a collection's index is, and why. */
#ifndef FS_EXPLAIN_H
#define FS_EXPLAIN_H

#include <stdio.h>

#include "src/store.h"

/*
 * Writes lines "name: value" about c, a snapshot or not, as it is at the
 * moment: index and its settings, what walks go by (quant), each with the
 * reason where `auto` chose it, memory, and what is made anew in the
 * background. Any thread.
 */
void explain_index(struct store *s, struct collection *c, FILE *out);

#endif
