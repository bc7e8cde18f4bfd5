/* SPDX-License-Identifier: Apache-2.0 */
/* rig.h: what benches share: a mounted tree and its daemon, clocks, medians. */
#ifndef BENCH_RIG_H
#define BENCH_RIG_H

#include <sys/types.h>
#include <time.h>

#include "src/vg.h"

/* Ends the program with errno's text; a bench has nothing to save. */
#define rig_must(expr) rig_must_at((expr), #expr, __FILE__, __LINE__)
void rig_must_at(bool holds, const char *expr, const char *file, int line);

/*
 * A mounted tree of its own: DIR/NAME.data on DIR/NAME.mnt, served by the
 * vecgridfs that stands two folders above the bench, with the default options.
 */
struct rig {
	char data[512], mnt[512];
	pid_t holder, daemon;
	clockid_t cpu; /* of the daemon, all its threads */
};

/* A new scratch directory below dir; removed at exit. Borrowed for good. */
const char *rig_scratch(const char *dir);

/* Makes and mounts it; options may be NULL ("durability=async"). */
void rig_open(struct rig *r, const char *dir, const char *name,
	const char *options);
void rig_close(struct rig *r); /* unmounts, waits for the daemon's end */
void rig_remount(struct rig *r);

/* Mounts what is not mounted; and takes a mount away whose holder was killed. */
void rig_mount(struct rig *r, const char *options);
void rig_unmount(struct rig *r);

/* DIR/NAME.mnt/PATH as text without its newline, and the reverse. */
void rig_get(const struct rig *r, const char *path, char *out, size_t cap);
void rig_put(const struct rig *r, const char *path, const char *text);

/* Makes a collection, sets its index and its metric. */
void rig_mkdir(const struct rig *r, const char *coll, const char *index,
	const char *metric);

/* Writes n vectors as a stream into .import/fvecs; ids are 0, 1, ...; returns
 * when all of them are linked. */
void rig_import(const struct rig *r, const char *coll, const float *vecs,
	uint32_t n, uint32_t dim);

/* Kilobytes of the daemon that are in memory now. */
long rig_rss_kb(const struct rig *r);

/* Puts a process with all its threads on one CPU; below 0: on all of them. */
void rig_pin(pid_t pid, int cpu);

double rig_now_us(void);
double rig_cpu_us(clockid_t clock);
clockid_t rig_clock_of(pid_t pid);

/* The value below which part of v[n] are; sorts v. */
double rig_quantile(double *v, size_t n, double part);

#endif
