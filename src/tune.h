/* SPDX-License-Identifier: Apache-2.0 */
/* tune.h: ef_search auto: the smallest ef that finds target_recall. */
#ifndef VG_TUNE_H
#define VG_TUNE_H

#include <pthread.h>

#include "src/recall.h"

/*
 * A thread of low priority compares what searches find with what there is.
 * For each sampled query (recall.h) it takes a look at the present, has all
 * rows compared, and then the index asked by that same look, with one ef of a
 * ladder after the other; so changes beside it falsify nothing. An answer that
 * is no farther than the exact k-th counts as found. From the third ef on that
 * found all of a query, larger ones are taken to find all of it as well.
 *
 * ef_search auto becomes the smallest ef whose interval of the recall is not
 * below target_recall (recall_choose), apart for each class of k
 * (config_ef_class). Until RECALL_MIN queries of a class were sampled it is 100.
 * Where a scan is as fast (store_search_is_scan), the ladder ends with an ef that
 * makes searches scan, and recall is 1. An ef_search that was written is
 * measured alone, so that .stats/recall can tell.
 *
 * When: samples are enough and nothing was measured yet, or since then as many
 * more were taken; TUNE_DRIFT of the rows were added or went; TUNE_LEFT of them
 * left the graph, where walks with the same ef went farther while they led over
 * the dead; they were linked anew, or their lists learnt anew; ef_search was
 * written. Rows must be linked by then, but for a few. For another
 * target_recall the choice is made anew by the last measurement. Who wakes the
 * thread is a search whose sample makes a look worth while, a change of the
 * configuration, a repair or a compaction; else it sleeps.
 *
 * COST. TUNE_SHARE of a core's time, or of the disk's where rows had to be read
 * from it; and TUNE_BURST_S of it at once after a rest. Collections whose rows
 * take more than half of the memory (memory_has_room) are left alone: reading
 * all of them would put others out of it.
 *
 * What was tuned is in the collection's config, and with it in the next
 * manifest; a crash loses it since then, and nothing else.
 */
#define TUNE_SHARE .02
#define TUNE_BURST_S 4.0
#define TUNE_DRIFT .25
#define TUNE_LEFT .1

struct collection;
struct store;

struct tuner {
	pthread_mutex_t lock; /* a leaf */
	pthread_cond_t cond;  /* is_wanted or is_stopping */
	bool is_wanted;	      /* lock */
	_Atomic bool is_stopping; /* relaxed: searches poll it */
	bool has_thread;
	pthread_t thread;
	pthread_mutex_t run_lock; /* one measurement at a time */
	double credit_s;   /* run_lock: that may be spent... */
	double credited_s; /* run_lock: ...as of this time */
};

void tune_prepare(struct tuner *t);
int tune_init(struct store *s); /* starts the thread; -EAGAIN */
void tune_stop(struct store *s);
void tune_fini(struct store *s);

/* There may be something to measure. Any thread, under any lock. */
void tune_wake(struct store *s);

/* The state of c that a result is of. Any thread. */
struct recall_state tune_state(struct collection *c);

/* Whether result still says what the collection is like, which is now as `now`
 * says: but for some rows, that is. */
bool tune_is_current(
	const struct recall_result *result, const struct recall_state *now);

/*
 * Measures c now, at once and whatever it costs, for each class of k that has
 * samples enough. -EAGAIN: it has no index, or no lists yet, or was made anew
 * or configured meanwhile. -EBUSY: many of its rows are not linked yet, or lists
 * are being learnt. -EINTR: the store ends. -ENOMEM. Any thread.
 */
int store_tune(struct store *s, struct collection *c);

#endif
