/* SPDX-License-Identifier: Apache-2.0 */
/* simdisk_int.h: what simdisk.c, simdisk_node.c and simdisk_crash.c share. */
#ifndef TESTS_SIMDISK_INT_H
#define TESTS_SIMDISK_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "tests/simdisk.h"

/*
 * A disk is a table of inodes; an inode is a node, a file's or a directory's.
 * A node has two faces: `now`, what readers see, and `safe`, what a power cut
 * leaves for certain; and between them a chain of pending changes. Replaying
 * the whole chain over `safe` gives `now`; a sync drops it; a crash replays
 * some of it (simdisk_crash.c).
 *
 * Nodes, pages' bytes and pending changes are counted and shared: between the
 * two faces, and between disks. Who wants to change a node owns it alone first
 * (sim_own); pending changes never change. So a copy of a disk costs a pointer
 * for each inode, and each node is copied when it is next written to.
 */
#define SIM_PAGE 4096u
#define SIM_NAME 60u /* bytes of a name, the last a zero */
#define SIM_ROOT 1u  /* its inode; 0 is none */
#define SIM_FD (1 << 20)

struct sim_chunk {
	_Atomic uint32_t refs;
	uint8_t bytes[SIM_PAGE];
};

struct sim_page {
	struct sim_chunk *now, *safe; /* NULL: zeros */
	bool is_dirty;		      /* a sync makes safe = now */
	bool is_lost; /* a failed sync forgot it: it is not dirty, and now
			  and safe differ */
};

struct sim_entry {
	uint32_t ino; /* 0: the name is not there */
	char name[SIM_NAME];
};

struct sim_names {
	struct sim_entry *entry; /* owned */
	uint32_t n, cap;
};

enum sim_pending_kind {
	SIM_DATA, /* bytes at offset */
	SIM_CUT,  /* the file was cut to `size` */
	SIM_SIZE, /* only the size changed: it grew */
	SIM_SET,  /* names[0..n_names) are these now, at once */
};

struct sim_pending {
	_Atomic uint32_t refs;
	enum sim_pending_kind kind;
	struct sim_pending *older; /* counted */
	uint64_t order;		   /* among all changes of the disk */
	uint64_t size;		   /* of the file, after it */
	uint64_t offset;
	size_t len;
	uint32_t n_names;
	_Alignas(8) uint8_t bytes[];
};

/* Which pages have space on the disk, a bit each. */
struct sim_taken {
	uint64_t *word; /* owned */
	size_t n;
};

struct sim_node {
	_Atomic uint32_t refs;
	bool is_dir;
	bool is_diverged;	  /* a failed sync lost something */
	struct sim_pending *last; /* the newest; NULL: none */

	struct sim_page *page; /* owned; beyond n_pages: zeros */
	size_t n_pages, cap_pages;
	size_t dirty_from, dirty_to; /* pages that are dirty are in between */
	struct sim_taken taken, safe_taken;
	uint64_t size, safe_size;

	struct sim_names now, safe; /* of a directory */
};

struct sim_inode {
	struct sim_node *node; /* NULL: free */
	uint32_t links;	       /* names that show now */
	uint32_t opens;
};

struct sim_fd {
	uint32_t ino; /* 0: free */
	int flags;
	char name[SIM_NAME]; /* it was opened by */
};

struct sim_damage {
	uint32_t ino; /* 0: none */
	uint64_t offset, len;
	uint8_t bits;
	int rc; /* 0: bits are flipped */
	bool for_ever;
};

struct sim {
	struct io io;	      /* first: the table's calls get its address */
	pthread_mutex_t lock; /* recursive; guards all that follows */
	struct sim_config cfg;
	uint64_t random;
	uint64_t order; /* of the last change */
	uint64_t used;
	uint32_t n_orphans; /* inodes without a name, since the last sweep */

	struct sim_inode *inode; /* owned, by number */
	uint32_t n_inodes, cap_inodes;
	struct sim_fd *fd; /* owned, by number - SIM_FD; the first: the root */
	uint32_t n_fds, cap_fds;

	struct sim_stat stat;
	struct sim_fault fault;
	uint64_t fault_calls; /* of the fault's kinds, since it was set */
	struct sim_damage damage[SIM_DAMAGES];
	unsigned lies;
	char lie_prefix[SIM_NAME];
	unsigned watched;
	sim_watch_fn *watch;
	void *watch_ctx;
	bool is_watching; /* watch runs */
};

/* ---- memory: ends the test where there is none ---- */

void *sim_alloc(size_t len);			       /* zeros */
void *sim_grow(void *old, size_t old_len, size_t len); /* the rest: zeros */

/* ---- dice ---- */

uint64_t sim_draw(uint64_t *random, uint64_t below);

/* ---- nodes ---- */

struct sim_node *sim_node_new(bool is_dir);
struct sim_node *sim_node_ref(struct sim_node *node);
void sim_node_unref(struct sim_node *node);
bool sim_node_is_clean(const struct sim_node *node); /* now is safe */

/* The inode's node, which this disk alone has: it may be changed. */
struct sim_node *sim_own(struct sim *sim, uint32_t ino);

void sim_chunk_unref(struct sim_chunk *chunk);

/* Bytes of page i's `now`, which may be written to; with `whole` they will be
 * written to all over and need no copy of what is there. */
uint8_t *sim_page_own(struct sim_node *node, size_t i, bool whole);

/* Puts bytes into `now`, or zeros from offset on up to the end of its page. */
void sim_bytes_put(struct sim_node *node, uint64_t offset, const uint8_t *bytes,
	size_t len);
void sim_tail_clear(struct sim_node *node, uint64_t offset);

/* `now` has no pages from page `first` on. */
void sim_pages_cut(struct sim_node *node, size_t first);

/* Copies from `now`; what is not there is zeros. */
void sim_bytes_get(const struct sim_node *node, uint64_t offset, uint8_t *out,
	size_t len);

/* Space. put returns how many pages were taken newly, cut how many not any
 * more. */
bool sim_taken_get(const struct sim_taken *taken, size_t page);
uint64_t sim_taken_put(struct sim_taken *taken, size_t from, size_t to);
uint64_t sim_taken_cut(struct sim_taken *taken, size_t from);
void sim_taken_copy(struct sim_taken *to, const struct sim_taken *from);
uint64_t sim_taken_count(const struct sim_taken *taken);

uint32_t sim_names_find(const struct sim_names *names, const char *name);
void sim_names_put(struct sim_names *names, const struct sim_entry *entry);

/* Changes of a file, with what is pending of them. The caller owns the node
 * and sees to the space. */
void sim_file_write(struct sim *sim, struct sim_node *node, uint64_t offset,
	const void *bytes, size_t len);
void sim_file_truncate(struct sim *sim, struct sim_node *node, uint64_t size);

/* Sets n (1 or 2) names of a directory at once. */
void sim_dir_set(struct sim *sim, struct sim_node *node,
	const struct sim_entry *entry, uint32_t n);

/* All of it is safe; or a sync of it failed, and random's dice say what is
 * safe all the same (NULL: nothing). */
void sim_node_sync(struct sim_node *node);
void sim_node_lose(struct sim_node *node, uint64_t *random);

/* ---- inodes and paths (simdisk_files.c) ---- */

/* Borrowed; not to be changed. */
struct sim_node *sim_node_of(const struct sim *sim, uint32_t ino);

/* An empty one without a name; and what follows when a name or a descriptor of
 * one is gone: its space is free then, though it may come back. */
uint32_t sim_inode_new(struct sim *sim, bool is_dir);
void sim_inode_check_gone(struct sim *sim, uint32_t ino);

struct sim_entry sim_entry_init(const char *name, uint32_t ino);

/* Names of a directory are these now, at once; what had one loses a link. */
void sim_names_set(struct sim *sim, uint32_t dir, const struct sim_entry *entry,
	uint32_t n);

/* Truncates; what was allocated behind it is given back. */
void sim_size_set(struct sim *sim, uint32_t ino, uint64_t size);

/* Where a path leads. -ENOENT, -ENOTDIR: not even to a directory that could
 * have the name. */
struct sim_place {
	uint32_t dir;
	char name[SIM_NAME];
	uint32_t ino; /* 0: there is no such name */
};
int sim_place_find(const struct sim *sim, uint32_t from, const char *path,
	struct sim_place *at);

/* ---- disks (simdisk.c, simdisk_crash.c) ---- */

/* A disk with sim's settings and damages, and no inode. */
struct sim *sim_new_like(const struct sim *sim, uint64_t seed);

/* Frees inodes that no name, no pending name and no descriptor leads to. */
void sim_sweep(struct sim *sim);

#endif
