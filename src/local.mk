# SPDX-License-Identifier: Apache-2.0
# base: vocabulary, messages, one encoding for log, disk and network.
noinst_LIBRARIES += libvgbase.a
libvgbase_a_SOURCES = \
	%D%/log.c \
	%D%/log.h \
	%D%/vg.h

# wire: the cursor and the frame.
libvgbase_a_SOURCES += %D%/wire.c %D%/wire.h

# clock, memory: how long, and how much there is.
libvgbase_a_SOURCES += %D%/clock.c %D%/clock.h
libvgbase_a_SOURCES += %D%/memory.c %D%/memory.h

# storage: files. Modules add themselves below.
noinst_LIBRARIES += libvgstorage.a
libvgstorage_a_SOURCES =

# core: what a change is, and what it does. Modules add themselves below.
noinst_LIBRARIES += libvgcore.a
libvgcore_a_SOURCES =

# op: one change, as it is logged.
libvgcore_a_SOURCES += %D%/op.c %D%/op.h

# wal: the log, the disk below it, and io_uring.
libvgstorage_a_SOURCES += \
	%D%/io.c %D%/io.h \
	%D%/uring.c %D%/uring.h \
	%D%/wal.c %D%/wal.h %D%/wal_int.h %D%/wal_open.c

# number, element, json, meta, record, rowstream: bodies in and out.
libvgcore_a_SOURCES += \
	%D%/element.c %D%/element.h \
	%D%/json.c %D%/json.h %D%/json_string.c \
	%D%/meta.c %D%/meta.h \
	%D%/number.c %D%/number.h \
	%D%/record.c %D%/record.h %D%/record_int.h \
	%D%/record_batch.c %D%/record_csv.c %D%/record_csv.h %D%/record_format.c %D%/record_json.c \
	%D%/record_npy.c %D%/record_npy.h \
	%D%/rowstream.c %D%/rowstream.h

# decimal, filter: which records are meant.
libvgcore_a_SOURCES += \
	%D%/decimal.c %D%/decimal.h \
	%D%/filter.c %D%/filter.h %D%/filter_int.h \
	%D%/filter_format.c %D%/filter_match.c %D%/filter_parse.c \
	%D%/filter_value.c %D%/filter_walk.c %D%/filter_where.c

# fields: indexes of metadata.
libvgcore_a_SOURCES += \
	%D%/collapse.c %D%/collapse.h \
	%D%/match.c %D%/match.h %D%/match_int.h %D%/match_kept.c \
	%D%/sortkey.c %D%/sortkey.h \
	%D%/fields.c %D%/fields.h %D%/fields_int.h \
	%D%/fields_bits.c %D%/fields_build.c %D%/fields_file.c \
	%D%/fields_find.c %D%/fields_key.c %D%/fields_match.c \
	%D%/fields_run.c %D%/fields_value.c

# columns and bytes that never move.
libvgstorage_a_SOURCES += \
	%D%/blob.c %D%/blob.h \
	%D%/column.c %D%/column.h \
	%D%/lost.c %D%/lost.h

# colfile: columns on disk.
libvgstorage_a_SOURCES += \
	%D%/colfile.c %D%/colfile.h %D%/colfile_int.h \
	%D%/colfile_head.c %D%/colfile_open.c %D%/colfile_pen.c \
	%D%/colfile_read.c %D%/colfile_view.c

# store: moments, collections, the catalogue, the committer, the indexers.
libvgcore_a_SOURCES += \
	%D%/catalogue.c %D%/catalogue.h \
	%D%/checkpoint.c %D%/checkpoint.h %D%/checkpoint_load.c \
	%D%/compact.c %D%/compact.h \
	%D%/generation.c \
	%D%/group.c %D%/group_add.c %D%/group_atomic.c \
	%D%/collection_file.c %D%/collection_file.h \
	%D%/collection_file_int.h %D%/collection_load.c \
	%D%/derived.c %D%/derived.h \
	%D%/graph_file.c %D%/graph_file.h \
	%D%/collection.c %D%/collection.h \
	%D%/collection_apply.c %D%/collection_fields.c \
	%D%/collection_int.h \
	%D%/auto_index.c %D%/auto_index.h \
	%D%/collection_reserve.c \
	%D%/commit.c \
	%D%/config.c %D%/config.h \
	%D%/datadir.c %D%/datadir.h \
	%D%/indexer.c %D%/indexer.h \
	%D%/moment.c %D%/moment.h \
	%D%/plan.c \
	%D%/repair.c %D%/repair.h \
	%D%/recall.c %D%/recall.h %D%/recall_sum.c \
	%D%/replay.c \
	%D%/search.c \
	%D%/store.c %D%/store.h %D%/store_int.h %D%/store_kept.c \
	%D%/tune.c %D%/tune.h

# identity, and what is left over: whose a directory is, and what is in it.
libvgcore_a_SOURCES += \
	%D%/check.c %D%/check.h %D%/check_damage.c %D%/check_files.c \
	%D%/check_int.h %D%/check_names.c \
	%D%/checkpoint_fill.c %D%/checkpoint_int.h %D%/checkpoint_sweep.c \
	%D%/datadir_format.c %D%/datadir_int.h %D%/datadir_lock.c \
	%D%/identity.c %D%/identity.h
# origins: which requests were applied lately.
libvgcore_a_SOURCES += %D%/origins.c %D%/origins.h

# manifest: the root of all files.
libvgcore_a_SOURCES += \
	%D%/manifest.c %D%/manifest.h \
	%D%/manifest_check.c %D%/manifest_file.c %D%/manifest_names.c

# What a program links to use the core, in dependency order.
core_libs = libvgcore.a libvgstorage.a libvgindex.a libvgbase.a \
	$(URING_LIBS) $(XXHASH_LIBS) $(ROARING_LIBS)
