/* SPDX-License-Identifier: Apache-2.0 */
/* ops_file.c: opening, reading, writing and closing files. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/ops.h"
#include "src/config.h"

static struct vg_id id_of(const char *name)
{
	return (struct vg_id){name, (uint32_t)strlen(name)};
}

static bool wants_write(const struct fuse_file_info *fi)
{
	return (fi->flags & O_ACCMODE) != O_RDONLY;
}

/* Answers an open with its handle; frees it if nobody waits any more. */
static void reply_open(fuse_req_t req, struct handle *h,
	struct fuse_file_info *fi)
{
	fi->fh = (uint64_t)(uintptr_t)h;
	if (fuse_reply_open(req, fi) < 0)
		handle_free(fs_of(req), h);
}

/* ---- create ---- */

static int check_name(fuse_req_t req, const struct stage_place *place)
{
	char buf[VG_ID_MAX];
	struct vg_id id;

	if (place->name.len > NAME_LEN_MAX)
		return -ENAMETOOLONG;
	if (ops_is_dotted(place))
		return 0;
	if (place->area == STAGE_QUERY) {
		if (query_parse_name(place->name.bytes, place->name.len,
			    &id) == 0)
			return 0;
		fs_note_error(req, place->coll, place->name, -EINVAL,
			"a named request is called by letters, digits, - and "
			"_, and by no word of the grammar");
		return -EINVAL;
	}
	if (ops_place_id(place, buf, &id) == 0)
		return 0;
	fs_note_error(req, place->coll, place->name, -EINVAL,
		"the name is not the one spelling of an id: only %2F, %25, a "
		"leading %2E and %71uery stand for others");
	return -EINVAL;
}

/* Makes a named stage, or finds the one that somebody made just before. */
static int make_stage(fuse_req_t req, fuse_ino_t parent_ino, const char *name,
	int flags, struct stage **out)
{
	struct fs *fs = fs_of(req);
	struct stage_place place = {.name = id_of(name)};
	struct ops_node parent;
	int rc = ops_node_get(fs, parent_ino, &parent);

	if (rc < 0)
		return rc;
	rc = ops_place(&parent, &place);
	if (rc == -EPERM && (parent.ref.kind == NODE_ROOT ||
				    parent.ref.kind == NODE_QUERY))
		fs_note_error(req, parent.coll, place.name, rc,
			parent.ref.kind == NODE_ROOT
				? "files belong into a collection: mkdir one"
				: "named requests are written in query/ "
				  "itself");
	if (rc == 0)
		rc = check_name(req, &place);
	if (rc == 0)
		rc = stages_add(&fs->stages, &place, true,
			fuse_req_ctx(req)->uid, out);
	if (rc == 0)
		(*out)->is_new = true;
	if (rc == 0)
		(*out)->is_excl = (flags & O_EXCL) != 0;
	if (rc == -EEXIST && !(flags & O_EXCL)) {
		*out = stages_get_name(&fs->stages, &place);
		rc = *out ? 0 : -EEXIST;
	}
	ops_node_put(fs, &parent);
	return rc;
}

static void entry_of(
	struct fs *fs, struct stage *st, struct fuse_entry_param *e)
{
	memset(e, 0, sizeof(*e));
	e->ino = node_encode(
		(struct node_ref){.kind = NODE_STAGE, .low = st->serial});
	attr_stage(fs, st, &e->attr);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t m,
	dev_t rdev)
{
	struct fs *fs = fs_of(req);
	struct fuse_entry_param e;
	struct stage *st;
	int rc = S_ISREG(m) ? 0 : -EPERM;

	(void)rdev;
	if (rc == 0)
		rc = make_stage(req, parent, name, O_EXCL, &st);
	if (rc < 0) {
		fuse_reply_err(req, fs_errno(rc));
		return;
	}
	st->is_excl = false;
	entry_of(fs, st, &e);
	fuse_reply_entry(req, &e);
	stages_unref(&fs->stages, st);
}

static struct handle *stage_handle(struct fs *fs, struct stage *st,
	const struct fuse_file_info *fi)
{
	struct handle *h = handle_new(fs, HANDLE_STAGE, st->coll);

	if (!h)
		return NULL;
	h->stage = st;
	h->is_sync = (fi->flags & O_DSYNC) != 0;
	h->is_writer = wants_write(fi);
	if (h->is_writer)
		atomic_fetch_add_explicit(
			&st->n_open, 1, memory_order_relaxed);
	return h;
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t m,
	struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct fuse_entry_param e;
	struct handle *h = NULL;
	struct stage *st;
	int rc = make_stage(req, parent, name, fi->flags, &st);

	(void)m;
	if (rc == 0) {
		h = stage_handle(fs, st, fi);
		if (!h) {
			stages_unref(&fs->stages, st);
			rc = -ENOMEM;
		}
	}
	if (rc < 0) {
		fuse_reply_err(req, fs_errno(rc));
		return;
	}
	entry_of(fs, st, &e);
	fi->fh = (uint64_t)(uintptr_t)h;
	fi->direct_io = 1;
	if (fuse_reply_create(req, &e, fi) < 0)
		handle_free(fs, h);
}

/* ---- open ---- */

/* Opens a text that is rendered now and does not change while it is open. */
static int open_bytes(fuse_req_t req, struct collection *c, char *bytes,
	size_t len, struct fuse_file_info *fi)
{
	struct handle *h = handle_new(fs_of(req), HANDLE_BYTES, c);
	struct answer_bytes *a = calloc(1, sizeof(*a));

	if (!h || !a) {
		free(a);
		free(bytes);
		handle_free(fs_of(req), h);
		return -ENOMEM;
	}
	atomic_init(&a->refs, 1);
	a->bytes = bytes;
	a->len = len;
	h->answer = a;
	fi->noflush = 1;
	reply_open(req, h, fi);
	return 0;
}

static int open_view(fuse_req_t req, const struct ops_node *node,
	struct fuse_file_info *fi)
{
	enum view view = ops_view(&node->ref);
	enum view dir = view_get(view)->parent;
	struct handle *h;
	char *bytes;
	size_t len;
	int rc;

	fi->direct_io = 1;
	if (dir == VIEW_EXPORT) {
		bulk_open_export(req, node->coll, view, fi);
		return 0;
	}
	if (view == VIEW_IMPORT_NPY || view == VIEW_IMPORT_FVECS ||
		view == VIEW_IMPORT_NDJSON) {
		bulk_open_import(req, node, fi);
		return 0;
	}
	if (!wants_write(fi) && !view_is_text(view))
		return -EACCES;
	if (!wants_write(fi)) {
		rc = view_render(fs_of(req), view, node->coll,
			fuse_req_ctx(req)->uid, &bytes, &len);
		return rc < 0 ? rc
			      : open_bytes(req, node->coll, bytes, len, fi);
	}
	if (!(view_get(view)->mode & 0222))
		return -EACCES;
	h = handle_new(fs_of(req), HANDLE_VALUE, node->coll);
	if (!h)
		return -ENOMEM;
	h->view = view;
	reply_open(req, h, fi);
	return 0;
}

/*
 * Who writes gets a node of his own: the kernel would cut and extend the
 * version's inode under those who read it. The open is refused with ESTALE,
 * upon which the kernel looks the name up again, once; to this caller the name
 * is then the stage (find_writer in ops_dir.c).
 */
static int open_version_write(fuse_req_t req, const struct ops_node *node,
	struct fuse_file_info *fi)
{
	static const enum stage_area areas[] = {[NODE_RECORD] = STAGE_RECORD,
		[NODE_AS] = STAGE_AS, [NODE_META] = STAGE_META};
	char name[NAME_ENCODED_MAX];
	struct stage_place place = {.coll = node->coll,
		.area = areas[node->ref.kind],
		.form = (enum record_form)node->ref.sub};
	struct stage *st;
	size_t len;
	int rc = name_encode(version_id(node->version), name, &len);

	if (rc < 0)
		return rc;
	place.name = (struct vg_id){name, (uint32_t)len};
	rc = ops_offer_stage(
		req, &place, node->version, fi->flags & O_TRUNC, &st);
	if (rc < 0)
		return rc;
	stages_unref(&fs_of(req)->stages, st);
	return -ESTALE;
}

static int open_version(fuse_req_t req, const struct ops_node *node,
	struct fuse_file_info *fi)
{
	struct version_view as = {
		node->ref.kind, (enum record_form)node->ref.sub};
	size_t len;
	char *bytes;

	if (wants_write(fi))
		return open_version_write(req, node, fi);
	fi->keep_cache = 1;
	fi->noflush = 1;
	if (as.kind == NODE_RECORD) {
		fi->fh = 0;
		fuse_reply_open(req, fi);
		return 0;
	}
	len = version_format(&as, node->version, NULL, 0);
	bytes = malloc(len);
	if (!bytes)
		return -ENOMEM;
	version_format(&as, node->version, bytes, len);
	return open_bytes(req, node->coll, bytes, len, fi);
}

/* Two who write to one new name do not write into each other's bytes: the
 * second one gets a stage of his own, unless his open was refused before. */
static bool is_taken(
	fuse_req_t req, struct stage *st, const struct fuse_file_info *fi)
{
	bool is_trunc;

	return wants_write(fi) && st->name[0] != '.' && st->is_named &&
	       atomic_load_explicit(&st->n_open, memory_order_relaxed) > 0 &&
	       !stages_take_miss(&fs_of(req)->stages, fuse_req_ctx(req)->pid,
		       &is_trunc);
}

static int open_stage(fuse_req_t req, struct ops_node *node,
	struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct stage *st = node->stage, *own;
	struct stage_place place = {st->coll, st->area, st->form,
		{st->name, st->name_len}};
	struct handle *h;
	int rc = 0;

	if (is_taken(req, st, fi)) {
		rc = ops_offer_stage(req, &place, NULL, true, &own);
		if (rc < 0)
			return rc;
		stages_unref(&fs->stages, own);
		return -ESTALE;
	}
	h = stage_handle(fs, st, fi);
	if (!h)
		return -ENOMEM;
	/* The node's reference is the handle's from here on. */
	node->stage = NULL;
	stages_accept(&fs->stages, st);
	pthread_mutex_lock(&st->lock);
	if (wants_write(fi) && (fi->flags & O_TRUNC)) {
		rc = arena_truncate(fs->arena, st->file, ARENA_BODY, 0);
		st->is_failed = st->is_dirty = false;
	}
	pthread_mutex_unlock(&st->lock);
	if (rc < 0) {
		handle_free(fs, h);
		return rc;
	}
	fi->direct_io = 1;
	reply_open(req, h, fi);
	return 0;
}

/* Writing a named request anew: a stage of its own, as for a record. */
static int open_named_write(fuse_req_t req, const struct ops_node *node)
{
	const struct query *q = &node->qnode->query;
	struct stage_place place = {.coll = node->coll,
		.area = STAGE_QUERY,
		.name = {q->key, q->key_len}};
	struct stage *st;
	int rc;

	if (q->src != QUERY_NAME)
		return -EACCES;
	rc = ops_offer_stage(req, &place, NULL, true, &st);
	if (rc < 0)
		return rc;
	stages_unref(&fs_of(req)->stages, st);
	return -ESTALE;
}

static int open_qnode(
	fuse_req_t req, struct ops_node *node, struct fuse_file_info *fi)
{
	struct handle *h;

	fi->direct_io = 1;
	switch (node->qnode->kind) {
	case QNODE_DIR:
		return -EISDIR;
	case QNODE_IMPORT:
		bulk_open_import(req, node, fi);
		return 0;
	case QNODE_LEAF:
		if (wants_write(fi))
			return open_named_write(req, node);
		fi->noflush = 1;
		query_open_leaf(req, node->qnode, fi);
		return 0;
	case QNODE_RUN:
		break;
	}
	h = handle_new(fs_of(req), HANDLE_RUN, node->coll);
	if (!h)
		return -ENOMEM;
	h->node = node->qnode;
	node->qnode = NULL;
	fi->noflush = 1;
	reply_open(req, h, fi);
	return 0;
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct ops_node node;
	int rc = ops_node_get(fs, ino, &node);

	if (rc == -ESTALE && wants_write(fi) &&
		node_decode(ino).kind == NODE_STAGE)
		stages_put_miss(&fs->stages, fuse_req_ctx(req)->pid,
			fi->flags & O_TRUNC);
	if (rc < 0) {
		fuse_reply_err(req, fs_errno(rc));
		return;
	}
	switch (node.ref.kind) {
	case NODE_RECORD:
	case NODE_AS:
	case NODE_META:
		rc = open_version(req, &node, fi);
		break;
	case NODE_VIEW:
	case NODE_ROOT_VIEW:
		rc = open_view(req, &node, fi);
		break;
	case NODE_STAGE:
		rc = open_stage(req, &node, fi);
		break;
	case NODE_QUERY:
		rc = open_qnode(req, &node, fi);
		break;
	default:
		rc = -EISDIR;
	}
	ops_node_put(fs, &node);
	if (rc < 0)
		fuse_reply_err(req, fs_errno(rc));
}

/* ---- read ---- */

static void read_part(fuse_req_t req, const char *bytes, size_t len,
	size_t size, off_t off)
{
	if (off < 0 || (uint64_t)off >= len)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_buf(req, bytes + off, VG_MIN(size, len - (size_t)off));
}

static void read_record(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off)
{
	struct fs *fs = fs_of(req);
	struct ops_node node;
	int rc = ops_node_get(fs, ino, &node);

	if (rc == 0 && node.ref.kind != NODE_RECORD) {
		ops_node_put(fs, &node);
		rc = -EBADF;
	}
	if (rc < 0) {
		fuse_reply_err(req, fs_errno(rc));
		return;
	}
	read_part(req, (const char *)version_vec(node.version),
		node.version->cell->dim * sizeof(float), size, off);
	ops_node_put(fs, &node);
}

/* Copied: once the reply is out the client may close, and the stage go. */
static void read_stage(fuse_req_t req, struct stage *st, size_t size, off_t off)
{
	char *copy = malloc(size ? size : 1);
	const char *bytes;
	size_t len, n = 0;

	if (!copy) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	pthread_mutex_lock(&st->lock);
	bytes = arena_bytes(fs_of(req)->arena, st->file, ARENA_BODY, &len);
	if (off >= 0 && (uint64_t)off < len) {
		n = VG_MIN(size, len - (size_t)off);
		memcpy(copy, bytes + off, n);
	}
	pthread_mutex_unlock(&st->lock);
	fuse_reply_buf(req, copy, n);
	free(copy);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);

	if (!h) {
		read_record(req, ino, size, off);
		return;
	}
	switch (h->kind) {
	case HANDLE_BYTES:
		if (h->answer->rows)
			bulk_read(req, h, size, (uint64_t)off);
		else
			read_part(req, h->answer->bytes, h->answer->len, size,
				off);
		break;
	case HANDLE_STAGE:
		read_stage(req, h->stage, size, off);
		break;
	case HANDLE_RUN:
		query_read_run(req, h, size, (uint64_t)off);
		break;
	default:
		fuse_reply_buf(req, NULL, 0);
	}
}

/* ---- write ---- */

static uint32_t probe_dim(struct stage *st)
{
	struct op_config config = collection_config(st->coll);

	if (config.dim_source &&
		atomic_load_explicit(&st->coll->n_live,
			memory_order_relaxed) <= 1)
		return 0;
	return config.dim;
}

/* Errors are told by write() where they can be: a shell's echo never sees what
 * close() says. */
static int probe_locked(struct fs *fs, struct stage *st, const char **why)
{
	struct record_parser *p = ops_parser_get();
	const void *body;
	size_t len;
	int rc;

	if (st->name[0] == '.' ||
		(st->area != STAGE_RECORD && st->area != STAGE_AS))
		return 0;
	if (!p)
		return -ENOMEM;
	body = arena_bytes(fs->arena, st->file, ARENA_BODY, &len);
	rc = record_probe(p, st->area == STAGE_AS ? st->form : RECORD_ANY,
		body, len, probe_dim(st));
	*why = p->error;
	return rc;
}

static int write_stage(struct fs *fs, struct stage *st, const char *buf,
	size_t size, off_t off, const char **why)
{
	int rc;

	if (st->is_failed && off == 0) {
		/* Written from the beginning again. */
		rc = arena_truncate(fs->arena, st->file, ARENA_BODY, 0);
		st->is_failed = rc < 0;
	}
	if (st->is_failed)
		return -EINVAL;
	if (st->original && (uint64_t)off + size > st->original) {
		*why = "a vector cannot be appended to: write it as a whole";
		return -EINVAL;
	}
	rc = arena_pwrite(fs->arena, st->file, ARENA_BODY, (uint64_t)off, buf,
		size);
	if (rc == -ENOSPC)
		*why = "too much is being written at once: close some files";
	if (rc == -EFBIG)
		*why = "a body is limited to 256 MiB";
	if (rc < 0)
		return rc;
	st->is_dirty = true;
	st->touched_ns = fs_now();
	rc = probe_locked(fs, st, why);
	st->is_failed = rc < 0;
	return rc;
}

static void do_write_stage(fuse_req_t req, struct stage *st, const char *buf,
	size_t size, off_t off)
{
	const char *why = NULL;
	char copy[256] = "";
	int rc;

	pthread_mutex_lock(&st->lock);
	rc = write_stage(fs_of(req), st, buf, size, off, &why);
	if (rc < 0 && why)
		snprintf(copy, sizeof(copy), "%s", why);
	pthread_mutex_unlock(&st->lock);
	if (rc < 0)
		fs_refuse(req, st->coll,
			(struct vg_id){st->name, st->name_len}, rc,
			why ? copy : NULL);
	else
		fuse_reply_write(req, size);
}

static void finish_write(struct fs_change *fc, int rc)
{
	if (rc < 0)
		fuse_reply_err(fc->req, fs_errno(rc));
	else
		fuse_reply_write(fc->req, fc->aux);
}

static bool is_word(const char *buf, size_t size, const char *word)
{
	while (size && strchr(" \t\r\n", buf[size - 1]))
		size--;
	return size == strlen(word) && memcmp(buf, word, size) == 0;
}

/* Each write of a setting is the whole value, as in sysfs. */
static void write_value(
	fuse_req_t req, struct handle *h, const char *buf, size_t size)
{
	bool is_clear = h->view == VIEW_DELETE_WHERE;
	const char *name = view_get(h->view)->name;
	struct fs_change *fc;

	if (is_clear && !is_word(buf, size, "all")) {
		fs_refuse(req, h->coll, id_of(name), -EINVAL,
			"write `all` to delete every record");
		return;
	}
	fc = fs_change_new(req, is_clear ? OP_CLEAR : OP_CONFIG, h->coll);
	if (fc)
		fc->bytes = malloc(size ? size : 1);
	if (!fc || !fc->bytes) {
		fs_change_free(fc);
		fuse_reply_err(req, ENOMEM);
		return;
	}
	memcpy(fc->bytes, buf, size);
	fc->change.meta = (struct meta){fc->bytes, (uint32_t)size};
	if (!is_clear)
		fs_change_id(fc, id_of(name));
	fs_path(fc->fs, h->coll, id_of(name), fc->path, sizeof(fc->path));
	fc->aux = size;
	fc->finish = finish_write;
	fs_change_run(fc);
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size,
	off_t off, struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);
	int rc;

	(void)ino;
	switch (h ? h->kind : HANDLE_DIR) {
	case HANDLE_STAGE:
		do_write_stage(req, h->stage, buf, size, off);
		break;
	case HANDLE_VALUE:
		write_value(req, h, buf, size);
		break;
	case HANDLE_RUN:
		rc = query_write_run(h, buf, size, (uint64_t)off);
		if (rc < 0)
			fuse_reply_err(req, fs_errno(rc));
		else
			fuse_reply_write(req, size);
		break;
	case HANDLE_IMPORT:
		bulk_write(req, h, buf, size, (uint64_t)off);
		break;
	default:
		fuse_reply_err(req, EBADF);
	}
}

/* ---- flush, fsync, release ---- */

/* ctx is the stage, referenced for the commit. */
static void finish_flush(struct fs_change *fc, int rc)
{
	struct stages *ss = &fc->fs->stages;
	struct stage *st = fc->ctx;

	pthread_mutex_lock(&st->lock);
	st->n_in_flight--;
	if (rc == 0) {
		st->is_committed = true;
		st->is_new = false;
		st->has_mtime = false;
	} else {
		st->is_dirty = true;
	}
	pthread_mutex_unlock(&st->lock);
	if (rc == 0)
		stages_del_name(ss, st);
	stages_unref(ss, st);
	fuse_reply_err(fc->req, fs_errno(rc));
}

/* Commits what was written since the last commit; answers req, at once or
 * later. */
static void flush_stage(fuse_req_t req, struct stage *st, bool sync)
{
	struct fs *fs = fs_of(req);
	struct ops_commit oc = {.sync = sync, .finish = finish_flush};
	bool is_dirty, is_failed;
	size_t len;
	int rc;

	pthread_mutex_lock(&st->lock);
	arena_bytes(fs->arena, st->file, ARENA_BODY, &len);
	is_failed = st->is_failed;
	is_dirty = st->is_dirty && len > 0 && st->name[0] != '.';
	if (is_dirty && !is_failed) {
		st->is_dirty = false;
		st->n_in_flight++;
	}
	/* Another close of it (dup, fork) may not return before the first. */
	sync = sync || (!is_dirty && st->n_in_flight > 0);
	pthread_mutex_unlock(&st->lock);
	if (!is_dirty && sync) {
		ops_sync(req);
		return;
	}
	if (is_failed || !is_dirty) {
		fuse_reply_err(req, is_failed ? EINVAL : 0);
		return;
	}
	oc.to = (struct stage_place){st->coll, st->area, st->form,
		{st->name, st->name_len}};
	oc.ctx = stages_get(&fs->stages, st->serial);
	assert(oc.ctx == st);
	rc = ops_stage_commit(req, st, &oc);
	if (rc == 0)
		return;
	pthread_mutex_lock(&st->lock);
	st->is_dirty = true;
	st->n_in_flight--;
	pthread_mutex_unlock(&st->lock);
	fs_refuse(req, st->coll, oc.to.name, rc, oc.why[0] ? oc.why : NULL);
	stages_unref(&fs->stages, st);
}

void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);

	(void)ino;
	if (h && h->kind == HANDLE_STAGE)
		flush_stage(req, h->stage, h->is_sync);
	else if (h && h->kind == HANDLE_IMPORT)
		bulk_flush(req, h);
	else
		fuse_reply_err(req, 0);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
	struct fuse_file_info *fi)
{
	struct handle *h = handle_of(fi);

	(void)ino;
	(void)datasync;
	if (h && h->kind == HANDLE_STAGE)
		flush_stage(req, h->stage, true);
	else
		ops_sync(req);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync,
	struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	(void)fi;
	ops_sync(req);
}

/* A process that was killed never flushed: what it wrote goes in if it is
 * whole, and is dropped with its name if it is not. */
static void finish_release(struct fs_change *fc, int rc)
{
	struct handle *h = fc->ctx;
	struct stage *st = h->stage;

	if (rc == 0)
		stages_del_name(&fc->fs->stages, st);
	fuse_reply_err(fc->req, 0);
	handle_free(fc->fs, h);
}

static void drop_bytes(struct fs *fs, struct stage *st)
{
	pthread_mutex_lock(&st->lock);
	arena_truncate(fs->arena, st->file, ARENA_BODY, 0);
	st->is_dirty = st->is_failed = false;
	pthread_mutex_unlock(&st->lock);
	stages_del_name(&fs->stages, st);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct handle *h = handle_of(fi);
	struct ops_commit oc = {.finish = finish_release, .ctx = h};
	struct stage *st;
	bool is_left;

	(void)ino;
	if (h && h->kind == HANDLE_STAGE) {
		st = h->stage;
		oc.to = (struct stage_place){st->coll, st->area, st->form,
			{st->name, st->name_len}};
		pthread_mutex_lock(&st->lock);
		is_left = st->is_dirty && st->name[0] != '.';
		is_left = is_left && wants_write(fi);
		if (is_left)
			st->is_dirty = false;
		pthread_mutex_unlock(&st->lock);
		if (is_left && !st->is_failed &&
			ops_stage_commit(req, st, &oc) == 0)
			return;
		if (is_left)
			drop_bytes(fs, st);
	}
	handle_free(fs, h);
	fuse_reply_err(req, 0);
}
