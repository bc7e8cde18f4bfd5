/* SPDX-License-Identifier: Apache-2.0 */
/* repair.h: rows that nobody sees any more leave the graph. */
#ifndef VG_REPAIR_H
#define VG_REPAIR_H

#include "src/collection.h"

struct store;

/*
 * The vector of a record that was deleted or overwritten stays in the graph:
 * walks lead over it and leave it out, which costs them the more, the more
 * there are. So from time to time those that nobody sees any more, no reader of
 * an older moment and no snapshot, are taken out, and their neighbours are
 * linked to one another instead, while searches and writers go on. Their rows
 * and versions stay until a compaction, which comes later, where half is dead.
 *
 * When: a fifth of the graph (REPAIR_SHARE) is not alive; of a collection that
 * nobody changes a fiftieth. What is dead and cannot leave, since somebody sees
 * it, is not asked about again for a while.
 *
 * The compactor's thread does it, between two compactions, and stops for one.
 */
#define REPAIR_MIN 256u
#define REPAIR_SHARE 5u
#define REPAIR_IDLE_SHARE 50u

/* Whether so much of c's graph is dead; is_idle: nobody has changed c for a
 * while. Any thread. */
bool repair_is_due(struct collection *c, bool is_idle);

/* Takes out what can be. Returns how many rows, or -EINTR: it was stopped, or
 * a compaction is due, and nothing left; -ENOMEM. The compactor's thread, or one instead of it. */
int store_repair(struct store *s, struct collection *c);

#endif
