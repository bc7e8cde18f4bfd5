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
	%D%/query.c %D%/query.h %D%/query_int.h \
	%D%/query_leaf.c %D%/query_request.c

# options, loop, holder, arena: the outer shell of the mount.
libvgfs_a_CPPFLAGS = $(AM_CPPFLAGS) $(FUSE3_CFLAGS)
libvgfs_a_SOURCES += \
	%D%/arena.c %D%/arena.h \
	%D%/buddy.c %D%/buddy.h \
	%D%/holder.c %D%/holder.h \
	%D%/loop.c %D%/loop.h \
	%D%/options.c %D%/options.h

# pool, import, rowfile: what takes long, as plain objects.
libvgfs_a_SOURCES += \
	%D%/import.c %D%/import.h \
	%D%/import_board.c %D%/import_board.h \
	%D%/pool.c %D%/pool.h
