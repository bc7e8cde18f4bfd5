# SPDX-License-Identifier: Apache-2.0
# fs: the mounted tree. The files of libvgfs.a that stand first are pure:
# they know neither FUSE nor the store. Modules add themselves below.
noinst_LIBRARIES += libvgfs.a
libvgfs_a_SOURCES =

# name: ids as file names.
libvgfs_a_SOURCES += %D%/name.c %D%/name.h

# query, answer, help: what is asked, its rows as bytes, and how to ask.
libvgfs_a_SOURCES += \
	%D%/answer.c %D%/answer.h \
	%D%/help.c %D%/help.h \
	%D%/hits.c %D%/hits.h \
	%D%/query.c %D%/query.h %D%/query_int.h \
	%D%/query_leaf.c %D%/query_like.c %D%/query_request.c

# options, loop, holder, arena: the outer shell of the mount.
libvgfs_a_CPPFLAGS = $(AM_CPPFLAGS) $(FUSE3_CFLAGS)
libvgfs_a_SOURCES += \
	%D%/arena.c %D%/arena.h \
	%D%/buddy.c %D%/buddy.h \
	%D%/holder.c %D%/holder.h \
	%D%/inflight.c %D%/inflight.h \
	%D%/kept.h \
	%D%/loop.c %D%/loop.h \
	%D%/options.c %D%/options.h

# pool, import, rowfile: what takes long, as plain objects.
libvgfs_a_SOURCES += \
	%D%/import.c %D%/import.h \
	%D%/import_board.c %D%/import_board.h \
	%D%/pool.c %D%/pool.h \
	%D%/rowfile.c %D%/rowfile.h \
	%D%/rowfile_int.h %D%/rowfile_rows.c

# the tree: nodes, staged files, views, and the operations of FUSE.
libvgfs_a_SOURCES += \
	%D%/ask.c %D%/ask.h \
	%D%/attr.c %D%/attr.h \
	%D%/boards.c %D%/boards.h \
	%D%/change.c %D%/change.h \
	%D%/fs.h \
	%D%/handle.c %D%/handle.h \
	%D%/explain.c %D%/explain.h \
	%D%/named.c %D%/named.h \
	%D%/node.c %D%/node.h \
	%D%/ops.c %D%/ops.h \
	%D%/ops_attr.c \
	%D%/ops_bulk.c \
	%D%/ops_clear.c \
	%D%/ops_close.c \
	%D%/ops_create.c \
	%D%/ops_dir.c \
	%D%/ops_file.c \
	%D%/ops_lookup.c \
	%D%/ops_name.c \
	%D%/ops_open.c \
	%D%/ops_query.c \
	%D%/ops_stage.c %D%/ops_tx.c \
	%D%/ops_xattr.c \
	%D%/serve.c %D%/serve.h \
	%D%/stage.c %D%/stage.h \
	%D%/timer.c %D%/timer.h \
	%D%/view.c %D%/view.h

# the program.
sbin_PROGRAMS += vecgridfs
vecgridfs_SOURCES = src/main.c
vecgridfs_CPPFLAGS = $(AM_CPPFLAGS) $(FUSE3_CFLAGS)
vecgridfs_LDADD = libvgfs.a $(core_libs) $(FUSE3_LIBS)
