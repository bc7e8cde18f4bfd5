/* SPDX-License-Identifier: Apache-2.0 */
/* simdisk_files.c: inodes and paths, and what tests do to files by these. */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/simdisk_int.h"
#include "tests/tap.h"

/* ---- inodes ---- */

struct sim_node *sim_node_of(const struct sim *sim, uint32_t ino)
{
	assert(ino > 0 && ino < sim->n_inodes);
	return sim->inode[ino].node;
}

uint32_t sim_inode_new(struct sim *sim, bool is_dir)
{
	uint32_t ino = SIM_ROOT;

	while (ino < sim->n_inodes && sim->inode[ino].node)
		ino++;
	if (ino >= sim->cap_inodes) {
		uint32_t cap = VG_MAX(32u, 2 * sim->cap_inodes);

		sim->inode = sim_grow(sim->inode,
			sim->cap_inodes * sizeof(sim->inode[0]),
			cap * sizeof(sim->inode[0]));
		sim->cap_inodes = cap;
	}
	sim->n_inodes = VG_MAX(sim->n_inodes, ino + 1);
	sim->inode[ino] = (struct sim_inode){.node = sim_node_new(is_dir)};
	return ino;
}

/* Nothing shows it any more: its space is free, but it may come back. */
void sim_inode_check_gone(struct sim *sim, uint32_t ino)
{
	const struct sim_inode *inode = &sim->inode[ino];

	if (inode->links > 0 || inode->opens > 0)
		return;
	sim->used -= SIM_PAGE * sim_taken_count(&inode->node->taken);
	sim->n_orphans++;
}

/* A name is these now, at once; what had it, or has it, loses or wins a link. */
void sim_names_set(struct sim *sim, uint32_t dir, const struct sim_entry *entry,
	uint32_t n)
{
	struct sim_node *node = sim_own(sim, dir);
	uint32_t old[2] = {0};

	assert(n <= 2);
	for (uint32_t i = 0; i < n; i++) {
		old[i] = sim_names_find(&node->now, entry[i].name);
		if (entry[i].ino > 0)
			sim->inode[entry[i].ino].links++;
	}
	sim_dir_set(sim, node, entry, n);
	for (uint32_t i = 0; i < n; i++)
		if (old[i] > 0) {
			sim->inode[old[i]].links--;
			sim_inode_check_gone(sim, old[i]);
		}
}

struct sim_entry sim_entry_init(const char *name, uint32_t ino)
{
	struct sim_entry entry = {.ino = ino};

	assert(strlen(name) < SIM_NAME);
	memcpy(entry.name, name, strlen(name) + 1);
	return entry;
}

/* ---- paths ---- */

int sim_place_find(const struct sim *sim, uint32_t from, const char *path,
	struct sim_place *at)
{
	*at = (struct sim_place){.dir = from, .ino = from};
	while (*path) { /* ends: the path gets shorter */
		size_t len = strcspn(path, "/");
		const struct sim_node *node = NULL;

		if (at->ino > 0)
			node = sim_node_of(sim, at->ino);
		if (!node || !node->is_dir)
			return node ? -ENOTDIR : -ENOENT;
		if (len >= SIM_NAME)
			return -ENAMETOOLONG;
		must(!(len == 2 && memcmp(path, "..", 2) == 0));
		if (len > 0 && !(len == 1 && path[0] == '.')) {
			at->dir = at->ino;
			memcpy(at->name, path, len);
			at->name[len] = '\0';
			at->ino = sim_names_find(&node->now, at->name);
		}
		path += len + (path[len] == '/');
	}
	/* A directory without a name takes no new ones. */
	return at->ino == 0 && sim->inode[at->dir].links == 0 ? -ENOENT : 0;
}

void sim_size_set(struct sim *sim, uint32_t ino, uint64_t size)
{
	struct sim_node *node = sim_own(sim, ino);

	sim->used -= SIM_PAGE *
		     sim_taken_cut(&node->taken,
			     (size_t)VG_ALIGN_UP(size, SIM_PAGE) / SIM_PAGE);
	sim_file_truncate(sim, node, size);
}

/* ---- what goes wrong ---- */

static int damage_put(struct sim *sim, const char *path,
	struct sim_damage damage)
{
	struct sim_place at;
	size_t i = 0;

	pthread_mutex_lock(&sim->lock);
	int rc = sim_place_find(sim, SIM_ROOT, path, &at);

	if (rc == 0 && at.ino == 0)
		rc = -ENOENT;
	if (rc == 0) {
		while (i < SIM_DAMAGES && sim->damage[i].ino > 0)
			i++;
		must(i < SIM_DAMAGES);
		damage.ino = at.ino;
		sim->damage[i] = damage;
	}
	pthread_mutex_unlock(&sim->lock);
	return rc;
}

int sim_flip(struct sim *sim, const char *path, uint64_t offset, uint8_t bits,
	bool for_ever)
{
	return damage_put(sim, path,
		(struct sim_damage){.offset = offset,
			.len = 1,
			.bits = bits,
			.for_ever = for_ever});
}

int sim_bad(struct sim *sim, const char *path, struct sim_range range, int rc,
	bool for_ever)
{
	must(rc < 0);
	return damage_put(sim, path,
		(struct sim_damage){.offset = range.offset,
			.len = range.len,
			.rc = rc,
			.for_ever = for_ever});
}

void sim_heal(struct sim *sim)
{
	pthread_mutex_lock(&sim->lock);
	memset(sim->damage, 0, sizeof(sim->damage));
	pthread_mutex_unlock(&sim->lock);
}

/* ---- what tests do ---- */

void sim_sync_all(struct sim *sim)
{
	pthread_mutex_lock(&sim->lock);
	for (uint32_t i = 1; i < sim->n_inodes; i++)
		if (sim->inode[i].node &&
			!sim_node_is_clean(sim->inode[i].node))
			sim_node_sync(sim_own(sim, i));
	pthread_mutex_unlock(&sim->lock);
}

static int link_at(struct sim *sim, const char *from, const char *to)
{
	struct sim_place a, b;
	int rc = sim_place_find(sim, SIM_ROOT, from, &a);

	if (rc == 0)
		rc = sim_place_find(sim, SIM_ROOT, to, &b);
	if (rc < 0)
		return rc;
	if (a.ino == 0)
		return -ENOENT;
	if (b.ino > 0)
		return -EEXIST;
	if (sim_node_of(sim, a.ino)->is_dir)
		return -EISDIR;

	struct sim_entry entry = sim_entry_init(b.name, a.ino);

	sim_names_set(sim, b.dir, &entry, 1);
	return 0;
}

int sim_link(struct sim *sim, const char *from, const char *to)
{
	pthread_mutex_lock(&sim->lock);
	int rc = link_at(sim, from, to);

	pthread_mutex_unlock(&sim->lock);
	return rc;
}

void *sim_load(struct sim *sim, const char *path, size_t *len)
{
	struct sim_place at;
	char *bytes = NULL;

	pthread_mutex_lock(&sim->lock);
	if (sim_place_find(sim, SIM_ROOT, path, &at) == 0 && at.ino > 0 &&
		!sim_node_of(sim, at.ino)->is_dir) {
		*len = (size_t)sim_node_of(sim, at.ino)->size;
		bytes = sim_alloc(*len + 1);
		sim_bytes_get(sim_node_of(sim, at.ino), 0, (uint8_t *)bytes,
			*len);
	}
	pthread_mutex_unlock(&sim->lock);
	return bytes;
}

static int save_at(struct sim *sim, const char *path, const void *bytes,
	size_t len)
{
	struct sim_place at;
	int rc = sim_place_find(sim, SIM_ROOT, path, &at);
	uint64_t pages = (len + SIM_PAGE - 1) / SIM_PAGE;

	if (rc < 0)
		return rc;
	if (at.ino > 0 && sim_node_of(sim, at.ino)->is_dir)
		return -EISDIR;
	if (sim->cfg.capacity > 0 &&
		sim->used + pages * SIM_PAGE > sim->cfg.capacity)
		return -ENOSPC;
	if (at.ino == 0) {
		at.ino = sim_inode_new(sim, false);

		struct sim_entry entry = sim_entry_init(at.name, at.ino);

		sim_names_set(sim, at.dir, &entry, 1);
	}
	sim_size_set(sim, at.ino, 0);

	struct sim_node *node = sim_own(sim, at.ino);

	sim->used += SIM_PAGE * sim_taken_put(&node->taken, 0, (size_t)pages);
	sim_file_write(sim, node, 0, bytes, len);
	sim_node_sync(node);
	sim_node_sync(sim_own(sim, at.dir));
	return 0;
}

int sim_save(struct sim *sim, const char *path, const void *bytes, size_t len)
{
	pthread_mutex_lock(&sim->lock);
	int rc = save_at(sim, path, bytes, len);

	pthread_mutex_unlock(&sim->lock);
	return rc;
}

/* ---- all files ---- */

struct found {
	uint32_t ino;
	bool is_dir;
	struct io_stat st;
	char path[512];
};

struct found_list {
	struct found **of; /* owned, as each of them is */
	uint32_t n, cap;
};

static void found_add(struct found_list *list, const struct sim *sim,
	const char *dir, const struct sim_entry *entry)
{
	struct found *f = sim_alloc(sizeof(*f));

	f->ino = entry->ino;
	f->is_dir = sim_node_of(sim, f->ino)->is_dir;
	f->st.size = sim_node_of(sim, f->ino)->size;
	f->st.links = sim->inode[f->ino].links;
	must(snprintf(f->path, sizeof(f->path), "%s%s%s", dir,
		     dir[0] ? "/" : "", entry->name) < (int)sizeof(f->path));
	if (list->n == list->cap) {
		uint32_t cap = VG_MAX(32u, 2 * list->cap);

		list->of = sim_grow(list->of, list->cap * sizeof(list->of[0]),
			cap * sizeof(list->of[0]));
		list->cap = cap;
	}
	list->of[list->n++] = f;
}

static void found_add_names(struct found_list *list, const struct sim *sim,
	uint32_t dir, const char *path)
{
	const struct sim_names *names = &sim_node_of(sim, dir)->now;

	for (uint32_t i = 0; i < names->n; i++)
		found_add(list, sim, path, &names->entry[i]);
}

int sim_each(struct sim *sim, sim_each_fn *each, void *ctx)
{
	struct found_list list = {0};
	int rc = 0;

	pthread_mutex_lock(&sim->lock);
	found_add_names(&list, sim, SIM_ROOT, "");
	for (uint32_t i = 0; i < list.n; i++) /* it grows: a tree ends */
		if (list.of[i]->is_dir)
			found_add_names(&list, sim, list.of[i]->ino,
				list.of[i]->path);
	pthread_mutex_unlock(&sim->lock);
	for (uint32_t i = 0; rc == 0 && i < list.n; i++)
		rc = each(ctx, list.of[i]->path, list.of[i]->is_dir,
			&list.of[i]->st);
	for (uint32_t i = 0; i < list.n; i++)
		free(list.of[i]);
	free(list.of);
	return rc;
}

struct export
{
	struct sim *sim;
	int dirfd;
};

static int export_one(void *ctx, const char *path, bool is_dir,
	const struct io_stat *st)
{
	const struct export *to = ctx;
	size_t len = 0;
	int rc = 0;

	(void)st;
	if (is_dir)
		return mkdirat(to->dirfd, path, 0700) < 0 ? -errno : 0;

	char *bytes = sim_load(to->sim, path, &len);
	int fd = openat(to->dirfd, path,
		O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 || !bytes)
		rc = fd < 0 ? -errno : -ENOENT;
	else if (pwrite(fd, bytes, len, 0) != (ssize_t)len)
		rc = -EIO;
	if (fd >= 0)
		close(fd);
	free(bytes);
	return rc;
}

int sim_export(struct sim *sim, const char *dir)
{
	struct export to = {.sim = sim,
		.dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};

	if (to.dirfd < 0)
		return -errno;

	int rc = sim_each(sim, export_one, &to);

	close(to.dirfd);
	return rc;
}
