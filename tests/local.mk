# SPDX-License-Identifier: Apache-2.0

noinst_LIBRARIES += libvgtap.a
libvgtap_a_SOURCES = %D%/tap.c %D%/tap.h %D%/streamkit.c %D%/streamkit.h

# fuzz: a target is `tests_fuzz_NAME_SOURCES = %D%/fuzz/NAME.c $(fuzz_main)`,
# `tests_fuzz_NAME_LDFLAGS = $(fuzz_ldflags)` and a line in fuzz_targets;
# its seeds are files in %D%/fuzz/corpus/NAME.
fuzz_targets =
if FUZZ
fuzz_main =
fuzz_ldflags = $(AM_LDFLAGS) -fsanitize=fuzzer
EXTRA_DIST += %D%/fuzz/main.c
else
fuzz_main = %D%/fuzz/main.c
fuzz_ldflags = $(AM_LDFLAGS)
TESTS += $(fuzz_targets)
endif
check_PROGRAMS += $(fuzz_targets)
EXTRA_DIST += %D%/fuzz/corpus
CLEANFILES += *.crash

# name
check_PROGRAMS += tests/unit/name
TESTS += tests/unit/name
tests_unit_name_SOURCES = %D%/unit/name.c
tests_unit_name_LDADD = libvgtap.a libvgfs.a

# query
check_PROGRAMS += tests/unit/query
TESTS += tests/unit/query
tests_unit_query_SOURCES = %D%/unit/query.c
tests_unit_query_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=realloc
tests_unit_query_LDADD = libvgtap.a libvgfs.a libvgcore.a $(XXHASH_LIBS)

# answer
check_PROGRAMS += tests/unit/answer
TESTS += tests/unit/answer
tests_unit_answer_SOURCES = %D%/unit/answer.c
tests_unit_answer_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=realloc
tests_unit_answer_LDADD = libvgtap.a libvgfs.a libvgcore.a

# hits
check_PROGRAMS += tests/unit/hits
TESTS += tests/unit/hits
tests_unit_hits_SOURCES = %D%/unit/hits.c
tests_unit_hits_LDADD = libvgtap.a libvgfs.a

# help
check_PROGRAMS += tests/unit/help
TESTS += tests/unit/help
tests_unit_help_SOURCES = %D%/unit/help.c
tests_unit_help_LDADD = libvgtap.a libvgfs.a libvgcore.a $(XXHASH_LIBS)

# fuzz/query
fuzz_targets += tests/fuzz/query
tests_fuzz_query_SOURCES = %D%/fuzz/query.c $(fuzz_main)
tests_fuzz_query_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_query_LDADD = libvgtap.a libvgfs.a libvgcore.a $(XXHASH_LIBS)

# options, loop, holder: the outer shell of the mount.
check_PROGRAMS += tests/unit/options tests/unit/loop tests/unit/holder \
	tests/unit/buddy tests/unit/arena tests/unit/arena_kill
TESTS += tests/unit/options tests/unit/loop tests/unit/holder \
	tests/unit/buddy tests/unit/arena tests/unit/arena_kill
tests_unit_buddy_SOURCES = %D%/unit/buddy.c
tests_unit_buddy_LDADD = libvgtap.a libvgfs.a
arenakit = %D%/arenakit.c %D%/arenakit.h
tests_unit_arena_SOURCES = %D%/unit/arena.c $(arenakit)
tests_unit_arena_kill_SOURCES = %D%/unit/arena_kill.c $(arenakit)
tests_unit_arena_kill_LDADD = libvgtap.a libvgfs.a
tests_unit_arena_LDADD = libvgtap.a libvgfs.a
tests_unit_loop_SOURCES = %D%/unit/loop.c
tests_unit_loop_CPPFLAGS = $(AM_CPPFLAGS) $(FUSE3_CFLAGS)
tests_unit_loop_LDADD = libvgtap.a libvgfs.a libvgbase.a $(FUSE3_LIBS)
tests_unit_options_SOURCES = %D%/unit/options.c
tests_unit_options_CPPFLAGS = $(AM_CPPFLAGS) $(FUSE3_CFLAGS)
tests_unit_options_LDADD = libvgtap.a libvgfs.a libvgbase.a $(FUSE3_LIBS)
tests_unit_holder_SOURCES = \
	%D%/unit/holder.c %D%/unit/demo.c %D%/unit/demo.h
tests_unit_holder_CPPFLAGS = $(AM_CPPFLAGS) $(FUSE3_CFLAGS)
tests_unit_holder_LDADD = libvgtap.a libvgfs.a libvgbase.a $(FUSE3_LIBS)

# budget, layers, man, rules: what the code and the page look like
TESTS += %D%/budget.sh %D%/layers.sh %D%/man.sh %D%/rules.sh
EXTRA_DIST += %D%/budget.sh %D%/layers.sh %D%/man.sh %D%/rules.sh

# behaviours: which assertion shows what of the storage and the index.
TESTS += %D%/behaviours.sh
EXTRA_DIST += %D%/behaviours.sh %D%/behaviours.tsv

# store: the whole core, on a real directory.
check_PROGRAMS += tests/unit/store
TESTS += tests/unit/store
tests_unit_store_SOURCES = %D%/unit/store.c
tests_unit_store_LDADD = libvgstorekit.a libvglogkit.a libvgtap.a $(core_libs)

# mount: programs and the tree they meet, one sentence a script.
mount_tests = \
	%D%/mount/a-bad-row-does-not-stop-an-import.sh \
	%D%/mount/a-bad-vector-is-refused-with-a-sentence.sh \
	%D%/mount/a-batch-answers-row-by-row.sh \
	%D%/mount/a-change-between-two-opens-is-seen.sh \
	%D%/mount/a-collection-is-made-renamed-and-dropped.sh \
	%D%/mount/a-directory-attribute-carries-the-configuration.sh \
	%D%/mount/a-large-vector-is-written-in-pieces.sh \
	%D%/mount/a-listing-goes-on-while-entries-come-and-go.sh \
	%D%/mount/a-long-search-times-out-or-is-interrupted.sh \
	%D%/mount/a-malformed-query-is-refused-without-a-search.sh \
	%D%/mount/a-named-request-is-written-anew-in-place.sh \
	%D%/mount/a-query-takes-every-source.sh \
	%D%/mount/a-record-reads-and-writes-in-each-format.sh \
	%D%/mount/a-remount-keeps-everything.sh \
	%D%/mount/a-row-just-written-is-found.sh \
	%D%/mount/a-run-handle-answers-again-and-again.sh \
	%D%/mount/a-second-mount-names-the-owner.sh \
	%D%/mount/a-staging-name-commits-by-rename.sh \
	%D%/mount/a-stream-fills-a-collection.sh \
	%D%/mount/a-vector-takes-every-body-format.sh \
	%D%/mount/a-vector-takes-every-call-that-a-file-does.sh \
	%D%/mount/an-alias-switches-between-collections.sh \
	%D%/mount/an-answer-comes-in-every-format.sh \
	%D%/mount/an-empty-file-is-staged-and-not-listed.sh \
	%D%/mount/an-exclusive-create-inserts-only-when-absent.sh \
	%D%/mount/an-export-is-one-moment.sh \
	%D%/mount/a-slow-daemon-does-not-refuse-writers.sh \
	%D%/mount/a-snapshot-is-the-collection-as-it-was.sh \
	%D%/mount/a-transaction-goes-in-whole-or-not-at-all.sh \
	%D%/mount/concurrent-transactions-are-serializable.sh \
	%D%/mount/snapshots-under-load-are-one-moment.sh \
	%D%/mount/an-import-keeps-memory-constant.sh \
	%D%/mount/an-open-handle-keeps-its-version.sh \
	%D%/mount/bits-are-a-collections-vectors.sh \
	%D%/mount/bytes-are-a-collections-vectors.sh \
	%D%/mount/callers-of-another-pid-namespace-overwrite.sh \
	%D%/mount/filters-after-a-restart-read-no-metadata-again.sh \
	%D%/mount/filters-mean-what-a-scan-of-the-records-does.sh \
	%D%/mount/filters-of-real-records-find-their-numbers.sh \
	%D%/mount/codes-follow-the-values.sh \
	%D%/mount/codes-of-neighbours-are-a-kind-of-index.sh \
	%D%/mount/dead-rows-leave-the-graph.sh \
	%D%/mount/csv-and-bvecs-are-streams-too.sh \
	%D%/mount/facets-of-fields-are-files.sh \
	%D%/mount/hits-are-a-directory-of-links.sh \
	%D%/mount/like-asks-by-examples.sh \
	%D%/mount/rows-are-ordered-and-grouped-by-a-field.sh \
	%D%/mount/halves-are-a-collections-vectors.sh \
	%D%/mount/l1-is-a-collections-distance.sh \
	%D%/mount/settings-of-a-filled-collection-link-it-anew.sh \
	%D%/mount/sixteen-writers-go-at-the-indexers-pace.sh \
	%D%/mount/the-dimension-is-fixed-by-the-first-vector.sh \
	%D%/mount/copying-programs-write-vectors.sh \
	%D%/mount/delete-where-all-empties-a-collection.sh \
	%D%/mount/dot-names-resolve-but-are-not-listed.sh \
	%D%/mount/ef-is-tuned-to-the-recall-that-is-wanted.sh \
	%D%/mount/every-dtype-has-streams-filters-and-repair.sh \
	%D%/mount/every-durability-mode-keeps-what-it-promises.sh \
	%D%/mount/exact-answers-equal-an-oracle.sh \
	%D%/mount/find-and-ls-meet-ten-thousand-vectors.sh \
	%D%/mount/help-and-readme-explain-the-tree.sh \
	%D%/mount/jq-reads-an-answer.sh \
	%D%/mount/killing-the-daemon-loses-nothing-acknowledged.sh \
	%D%/mount/metadata-is-one-store-with-two-doors.sh \
	%D%/mount/modes-belong-to-the-collection.sh \
	%D%/mount/odd-names-are-kept-as-they-are.sh \
	%D%/mount/options-are-checked-before-mounting.sh \
	%D%/mount/parameters-shape-an-answer.sh \
	%D%/mount/percent-names-stand-for-ids.sh \
	%D%/mount/perl-node-and-awk-write-vectors.sh \
	%D%/mount/programs-write-in-a-transaction-as-elsewhere.sh \
	%D%/mount/python-reads-and-writes-vectors.sh \
	%D%/mount/readers-and-writers-go-on-beside-each-other.sh \
	%D%/mount/recall-holds-through-the-mount.sh \
	%D%/mount/rsync-copies-the-mount-out-and-back.sh \
	%D%/mount/searches-beyond-memory-read-only-what-they-compare.sh \
	%D%/mount/sed-and-vim-edit-a-record.sh \
	%D%/mount/shells-report-a-refused-write.sh \
	%D%/mount/sizes-times-and-links-are-exact.sh \
	%D%/mount/stat-open-and-read-cost-one-search.sh \
	%D%/mount/statistics-tell-what-is-in-a-collection.sh \
	%D%/mount/system-attributes-are-readable-but-not-listed.sh \
	%D%/mount/tar-carries-vectors-and-attributes.sh \
	%D%/mount/three-hundred-collections-live-side-by-side.sh \
	%D%/mount/what-the-readme-shows-works.sh \
	%D%/mount/what-was-deleted-is-not-brought-back.sh \
	%D%/mount/xargs-writes-from-sixteen-processes.sh
# backup: copies, damage, recovery.
mount_tests += \
	%D%/mount/a-collection-larger-than-memory-is-loaded-and-answered.sh \
	%D%/mount/killing-the-daemon-amid-checkpoints-loses-nothing.sh \
	%D%/mount/overwriting-gives-its-space-back.sh \
	%D%/mount/a-damaged-store-is-checked-and-recovered.sh \
	%D%/mount/copies-made-under-load-are-data-directories.sh
EXTRA_DIST += %D%/mount/backup_rounds.py %D%/mount/cut_log.py \
	%D%/mount/histories.py %D%/mount/snapshots.py
dist_check_SCRIPTS = $(mount_tests)
TESTS += $(mount_tests)
EXTRA_DIST += %D%/mount/lib.sh \
	%D%/mount/group.sh \
	%D%/mount/beside.py \
	%D%/mount/changes.py \
	%D%/mount/descriptors.py \
	%D%/mount/dtypes.py \
	%D%/mount/facts.py \
	%D%/mount/filters.py \
	%D%/mount/hits.py \
	%D%/mount/combined.py \
	%D%/mount/csv_stream.py \
	%D%/mount/like.py \
	%D%/mount/order.py \
	%D%/mount/import_memory.py \
	%D%/mount/interrupt.py \
	%D%/mount/ivf.py \
	%D%/mount/kill_rounds.py \
	%D%/mount/listing.py \
	%D%/mount/many_collections.py \
	%D%/mount/numpy_io.py \
	%D%/mount/oracle.py \
	%D%/mount/recall.py \
	%D%/mount/pace.py \
	%D%/mount/recall_beside.py \
	%D%/mount/recall_target.py \
	%D%/mount/rename.py \
	%D%/mount/run_handle.py \
	%D%/mount/tx_close.py \
	%D%/mount/versions.py

# crashes: a daemon that dies is followed by one that goes on.
crash_tests = %D%/mount/a-crash-is-not-noticed.sh \
	%D%/mount/a-deadly-request-is-refused.sh \
	%D%/mount/a-record-read-across-a-compaction-a-crash-undid.sh \
	%D%/mount/an-open-file-is-read-on-across-compactions-and-crashes.sh \
	%D%/mount/a-restart-keeps-what-is-open.sh
dist_check_SCRIPTS += $(crash_tests)
TESTS += $(crash_tests)
EXTRA_DIST += %D%/mount/crash_rounds.py

# model: the tree against what a dictionary says.
model_tests = %D%/mount/a-filter-in-pieces-deletes-what-it-means.sh \
	%D%/mount/a-full-disk-still-reads-and-deletes.sh \
	%D%/mount/a-model-and-the-mount-agree.sh \
	%D%/mount/an-open-file-follows-its-name.sh \
	%D%/mount/any-query-equals-a-model.sh \
	%D%/mount/behaves-like-vecgrid.sh \
	%D%/mount/behaves-like-vecraft.sh \
	%D%/mount/behaves-like-vector-db.sh \
	%D%/mount/behaves-like-vector-search-engine-demo.sh \
	%D%/mount/behaves-like-zero-copy.sh \
	%D%/mount/every-refusal-has-its-sentence.sh \
	%D%/mount/lists-of-short-codes-find-what-a-scan-does.sh \
	%D%/mount/many-processes-search-beside-writers.sh \
	%D%/mount/staging-files-behave-like-files.sh \
	%D%/mount/the-grammar-of-queries-has-exact-limits.sh
dist_check_SCRIPTS += $(model_tests)
TESTS += $(model_tests)
EXTRA_DIST += %D%/behaviours.md \
	%D%/mount/behaves_like_vecgrid.py \
	%D%/mount/behaves_like_vecraft.py \
	%D%/mount/behaves_like_vector_db.py \
	%D%/mount/behaves_like_vector_search_engine_demo.py \
	%D%/mount/behaves_like_zero_copy.py \
	%D%/mount/delete_pieces.py \
	%D%/mount/drive.sh \
	%D%/mount/model.py \
	%D%/mount/mounted.py \
	%D%/mount/query_beside.py \
	%D%/mount/query_limits.py \
	%D%/mount/random_queries.py \
	%D%/mount/sentences.py \
	%D%/mount/staging.py

# wire, op: the encodings.
check_PROGRAMS += tests/unit/wire tests/unit/op
TESTS += tests/unit/wire tests/unit/op
tests_unit_wire_SOURCES = %D%/unit/wire.c
tests_unit_wire_LDADD = libvgtap.a libvgbase.a
tests_unit_op_SOURCES = %D%/unit/op.c
tests_unit_op_LDADD = libvgtap.a libvgcore.a libvgbase.a

# wal: the log over disks that fail, and what is left of it.
noinst_LIBRARIES += libvglogkit.a
libvglogkit_a_SOURCES = %D%/logkit.c %D%/logkit.h
log_libs = libvglogkit.a libvgtap.a libvgstorage.a libvgbase.a $(URING_LIBS)
check_PROGRAMS += tests/unit/wal
TESTS += tests/unit/wal
tests_unit_wal_SOURCES = %D%/unit/wal.c
tests_unit_wal_LDADD = $(log_libs)
check_PROGRAMS += tests/unit/wal_read
TESTS += tests/unit/wal_read
tests_unit_wal_read_SOURCES = %D%/unit/wal_read.c
tests_unit_wal_read_LDADD = $(log_libs)
check_PROGRAMS += tests/unit/wal_place
TESTS += tests/unit/wal_place
tests_unit_wal_place_SOURCES = %D%/unit/wal_place.c
tests_unit_wal_place_LDADD = $(log_libs)

# index: what is near, exactly and fast
index_tests = %D%/unit/dist %D%/unit/dist_half %D%/unit/dist_bytes \
	%D%/unit/dist_rows %D%/unit/dist_signs %D%/unit/flat %D%/unit/hnsw \
	%D%/unit/pq \
	%D%/unit/ivf %D%/fault/ivf \
	%D%/fault/hnsw %D%/recall/sift5k %D%/recall/fashion
check_PROGRAMS += $(index_tests)
TESTS += $(index_tests)
distkit = %D%/distkit.c %D%/distkit.h
tests_unit_dist_SOURCES = %D%/unit/dist.c $(distkit)
tests_unit_dist_LDADD = libvgtap.a libvgindex.a
tests_unit_dist_half_SOURCES = %D%/unit/dist_half.c $(distkit)
tests_unit_dist_half_LDADD = libvgtap.a libvgindex.a
tests_unit_dist_bytes_SOURCES = %D%/unit/dist_bytes.c $(distkit)
tests_unit_dist_bytes_LDADD = libvgtap.a libvgindex.a
tests_unit_dist_rows_SOURCES = %D%/unit/dist_rows.c $(distkit)
tests_unit_dist_rows_LDADD = libvgtap.a libvgindex.a
tests_unit_dist_signs_SOURCES = %D%/unit/dist_signs.c $(distkit)
tests_unit_dist_signs_LDADD = libvgtap.a libvgindex.a
TESTS += %D%/aarch64.sh
EXTRA_DIST += %D%/aarch64.sh
tests_unit_ivf_SOURCES = %D%/unit/ivf.c %D%/recall/data.c %D%/recall/data.h
tests_unit_ivf_LDADD = libvgtap.a libvgindex.a
tests_unit_pq_SOURCES = %D%/unit/pq.c
tests_unit_pq_LDADD = libvgtap.a libvgindex.a
tests_unit_flat_SOURCES = %D%/unit/flat.c
tests_unit_flat_LDADD = libvgtap.a libvgindex.a
tests_unit_hnsw_SOURCES = %D%/unit/hnsw.c %D%/recall/data.c %D%/recall/data.h
tests_unit_hnsw_LDADD = libvgtap.a libvgindex.a
memkit = %D%/memkit.c %D%/memkit.h
mem_wraps = -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free
tests_fault_ivf_SOURCES = %D%/fault/ivf.c $(memkit)
tests_fault_ivf_LDADD = libvgtap.a libvgindex.a
tests_fault_ivf_LDFLAGS = $(AM_LDFLAGS) $(mem_wraps)
tests_fault_hnsw_SOURCES = %D%/fault/hnsw.c $(memkit)
tests_fault_hnsw_LDADD = libvgtap.a libvgindex.a
tests_fault_hnsw_LDFLAGS = $(AM_LDFLAGS) $(mem_wraps) \
	-Wl,--wrap=mmap,--wrap=munmap
recall_sources = %D%/recall/churn.c %D%/recall/churn.h \
	%D%/recall/data.c %D%/recall/data.h
tests_recall_sift5k_SOURCES = %D%/recall/sift5k.c $(recall_sources)
tests_recall_sift5k_LDADD = libvgtap.a libvgindex.a
tests_recall_fashion_SOURCES = %D%/recall/fashion.c $(recall_sources)
tests_recall_fashion_LDADD = libvgtap.a libvgindex.a
EXTRA_DIST += %D%/data/sift5k/README.md \
	%D%/data/sift5k/sift5k_base.fvecs \
	%D%/data/sift5k/sift5k_gt100.ivecs \
	%D%/data/sift5k/sift5k_query.fvecs
check_PROGRAMS += tests/unit/uring tests/cut/wal
TESTS += tests/unit/uring tests/cut/wal
tests_unit_uring_SOURCES = %D%/unit/uring.c
tests_unit_uring_LDADD = $(log_libs)
tests_cut_wal_SOURCES = %D%/cut/wal.c
tests_cut_wal_LDADD = libvgcore.a $(log_libs)

# origins: what was applied lately.
check_PROGRAMS += tests/unit/origins
TESTS += tests/unit/origins
tests_unit_origins_SOURCES = %D%/unit/origins.c
tests_unit_origins_LDADD = $(store_libs)

# inflight: what a crash leaves unanswered.
check_PROGRAMS += tests/unit/inflight
TESTS += tests/unit/inflight
tests_unit_inflight_SOURCES = %D%/unit/inflight.c
tests_unit_inflight_LDADD = libvgtap.a libvgfs.a libvgbase.a

# pool, import, rowfile: bulk in and out.
check_PROGRAMS += tests/unit/pool tests/unit/import tests/unit/rowfile
TESTS += tests/unit/pool tests/unit/import tests/unit/rowfile
tests_unit_pool_SOURCES = %D%/unit/pool.c
tests_unit_pool_LDADD = libvgtap.a libvgfs.a libvgbase.a
tests_unit_import_SOURCES = \
	%D%/unit/import.c %D%/unit/bulk.c %D%/unit/bulk.h
tests_unit_import_LDADD = libvgtap.a libvgfs.a $(core_libs)
tests_unit_rowfile_SOURCES = \
	%D%/unit/rowfile.c %D%/unit/bulk.c %D%/unit/bulk.h
tests_unit_rowfile_LDADD = libvgtap.a libvgfs.a $(core_libs)

# number, json, meta, record, rowstream: bodies in and out.
body_tests = %D%/unit/number %D%/unit/element %D%/unit/json %D%/unit/meta \
	%D%/unit/record %D%/unit/record_dtype %D%/unit/record_csv \
	%D%/unit/rowstream %D%/fault/record
check_PROGRAMS += $(body_tests)
TESTS += $(body_tests)
tests_unit_number_SOURCES = %D%/unit/number.c
tests_unit_number_LDADD = libvgtap.a libvgcore.a
tests_unit_element_SOURCES = %D%/unit/element.c
tests_unit_element_LDADD = libvgtap.a libvgcore.a -lm
tests_unit_record_dtype_SOURCES = %D%/unit/record_dtype.c
tests_unit_record_dtype_LDADD = libvgtap.a libvgcore.a
tests_unit_json_SOURCES = %D%/unit/json.c
tests_unit_json_LDADD = libvgtap.a libvgcore.a
tests_unit_meta_SOURCES = %D%/unit/meta.c
tests_unit_meta_LDADD = libvgtap.a libvgcore.a
tests_unit_record_SOURCES = %D%/unit/record.c
tests_unit_record_LDADD = libvgtap.a libvgcore.a
tests_unit_record_csv_SOURCES = %D%/unit/record_csv.c
tests_unit_record_csv_LDADD = libvgtap.a libvgcore.a
tests_unit_rowstream_SOURCES = %D%/unit/rowstream.c
tests_unit_rowstream_LDADD = libvgtap.a libvgcore.a
tests_fault_record_SOURCES = %D%/fault/record.c $(memkit)
tests_fault_record_LDADD = libvgtap.a libvgcore.a
tests_fault_record_LDFLAGS = $(AM_LDFLAGS) $(mem_wraps)
fuzz_targets += %D%/fuzz/record %D%/fuzz/json %D%/fuzz/npy %D%/fuzz/ndjson \
	%D%/fuzz/fvecs %D%/fuzz/csv
fuzz_stream = %D%/fuzz/stream.c %D%/fuzz/stream.h
tests_fuzz_record_SOURCES = %D%/fuzz/record.c $(fuzz_main)
tests_fuzz_record_LDADD = libvgtap.a libvgcore.a
tests_fuzz_record_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_json_SOURCES = %D%/fuzz/json.c $(fuzz_main)
tests_fuzz_json_LDADD = libvgtap.a libvgcore.a
tests_fuzz_json_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_npy_SOURCES = %D%/fuzz/npy.c $(fuzz_stream) $(fuzz_main)
tests_fuzz_npy_LDADD = libvgtap.a libvgcore.a
tests_fuzz_npy_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_ndjson_SOURCES = %D%/fuzz/ndjson.c $(fuzz_stream) $(fuzz_main)
tests_fuzz_ndjson_LDADD = libvgtap.a libvgcore.a
tests_fuzz_ndjson_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_csv_SOURCES = %D%/fuzz/csv.c $(fuzz_stream) $(fuzz_main)
tests_fuzz_csv_LDADD = libvgtap.a libvgcore.a
tests_fuzz_csv_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fvecs_SOURCES = %D%/fuzz/fvecs.c $(fuzz_stream) $(fuzz_main)
tests_fuzz_fvecs_LDADD = libvgtap.a libvgcore.a
tests_fuzz_fvecs_LDFLAGS = $(fuzz_ldflags)
check_PROGRAMS += tests/fault/wal
TESTS += tests/fault/wal
tests_fault_wal_SOURCES = %D%/fault/wal.c $(memkit)
tests_fault_wal_LDFLAGS = $(AM_LDFLAGS) $(mem_wraps)
tests_fault_wal_LDADD = $(log_libs)
fuzz_targets += tests/fuzz/op tests/fuzz/wal
tests_fuzz_op_SOURCES = %D%/fuzz/op.c $(fuzz_main)
tests_fuzz_op_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_op_LDADD = libvgtap.a libvgcore.a libvgbase.a
tests_fuzz_wal_SOURCES = %D%/fuzz/wal.c $(fuzz_main)
tests_fuzz_wal_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_wal_LDADD = libvgtap.a libvgstorage.a libvgbase.a $(URING_LIBS)

# hnsw_file: a graph as a stream
check_PROGRAMS += tests/unit/hnsw_file
TESTS += tests/unit/hnsw_file
graphkit = %D%/graphkit.c %D%/graphkit.h %D%/recall/data.c %D%/recall/data.h
tests_unit_hnsw_file_SOURCES = %D%/unit/hnsw_file.c $(graphkit)
check_PROGRAMS += tests/unit/hnsw_code tests/unit/hnsw_dtype
TESTS += tests/unit/hnsw_code tests/unit/hnsw_dtype
tests_unit_hnsw_dtype_SOURCES = %D%/unit/hnsw_dtype.c $(graphkit)
tests_unit_hnsw_dtype_LDADD = libvgtap.a libvgindex.a
tests_unit_hnsw_code_SOURCES = %D%/unit/hnsw_code.c $(graphkit)
tests_unit_hnsw_code_LDADD = libvgtap.a libvgindex.a
check_PROGRAMS += tests/unit/heap
TESTS += tests/unit/heap
tests_unit_heap_LDADD = libvgtap.a
check_PROGRAMS += tests/unit/hnsw_among
TESTS += tests/unit/hnsw_among
tests_unit_hnsw_among_SOURCES = %D%/unit/hnsw_among.c $(graphkit)
tests_unit_hnsw_among_LDADD = libvgtap.a libvgindex.a
check_PROGRAMS += tests/unit/hnsw_near
TESTS += tests/unit/hnsw_near
tests_unit_hnsw_near_SOURCES = %D%/unit/hnsw_near.c $(graphkit)
tests_unit_hnsw_near_LDADD = libvgtap.a libvgindex.a
check_PROGRAMS += tests/unit/hnsw_repair
TESTS += tests/unit/hnsw_repair
tests_unit_hnsw_repair_SOURCES = %D%/unit/hnsw_repair.c $(graphkit)
tests_unit_hnsw_repair_LDADD = libvgtap.a libvgindex.a
check_PROGRAMS += tests/unit/hnsw_file_damage
TESTS += tests/unit/hnsw_file_damage
tests_unit_hnsw_file_damage_SOURCES = %D%/unit/hnsw_file_damage.c $(graphkit)
tests_unit_hnsw_file_damage_LDADD = libvgtap.a libvgindex.a
tests_unit_hnsw_file_LDADD = libvgtap.a libvgindex.a
fuzz_targets += %D%/fuzz/hnsw
tests_fuzz_hnsw_SOURCES = %D%/fuzz/hnsw.c $(fuzz_main)
tests_fuzz_hnsw_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_hnsw_LDADD = libvgtap.a libvgindex.a

# format: a reader in another language.
check_PROGRAMS += tests/format_log
TESTS += tests/format.sh
EXTRA_DIST += %D%/format.sh %D%/format_reader.py %D%/manifest_reader.py %D%/xxh3.py
tests_format_log_SOURCES = %D%/format_log.c
tests_format_log_LDADD = libvgcore.a $(log_libs)
check_PROGRAMS += tests/format_store
tests_format_store_SOURCES = %D%/format_store.c
tests_format_store_LDADD = $(store_libs)

# lost: what a disk does not give any more.
check_PROGRAMS += tests/unit/lost
TESTS += tests/unit/lost
tests_unit_lost_SOURCES = %D%/unit/lost.c
tests_unit_lost_LDADD = libvgtap.a libvgstorage.a

# faults: what goes wrong around a mount.
fault_tests = \
	%D%/mount/a-clock-that-jumps-changes-no-more-than-times.sh \
	%D%/mount/a-disk-that-does-not-read-costs-its-rows-only.sh \
	%D%/mount/cutting-the-power-loses-nothing-acknowledged.sh \
	%D%/mount/an-unmounted-tree-lives-until-it-is-closed.sh \
	%D%/mount/few-descriptors-are-enough-or-are-told.sh
EXTRA_DIST += %D%/clockstep.c %D%/mount/clock_steps.py \
	%D%/mount/lazy_umount.py %D%/mount/power_cuts.py
dist_check_SCRIPTS += $(fault_tests)
TESTS += $(fault_tests)

# the store's parts: blob to search, and the store cut.
noinst_LIBRARIES += libvgstorekit.a
libvgstorekit_a_SOURCES = %D%/storekit.c %D%/storekit.h
store_libs = libvgstorekit.a libvglogkit.a libvgtap.a $(core_libs)
check_PROGRAMS += tests/unit/blob
TESTS += tests/unit/blob
tests_unit_blob_SOURCES = %D%/unit/blob.c
tests_unit_blob_LDADD = libvgtap.a libvgstorage.a
store_tests = %D%/unit/catalogue %D%/unit/collection %D%/unit/column \
	%D%/unit/commit %D%/unit/config %D%/unit/datadir %D%/unit/indexer \
	%D%/unit/moment %D%/unit/plan %D%/unit/recall %D%/unit/search \
	%D%/unit/tune %D%/cut/store
check_PROGRAMS += $(store_tests)
TESTS += $(store_tests)
tests_unit_catalogue_SOURCES = %D%/unit/catalogue.c
tests_unit_catalogue_LDADD = $(store_libs)
tests_unit_column_SOURCES = %D%/unit/column.c
tests_unit_column_LDADD = libvgtap.a libvgstorage.a
tests_unit_config_SOURCES = %D%/unit/config.c
tests_unit_config_LDADD = libvgtap.a libvgcore.a
tests_unit_datadir_SOURCES = %D%/unit/datadir.c
tests_unit_datadir_LDADD = libvgtap.a $(core_libs)
check_PROGRAMS += tests/unit/backup
TESTS += tests/unit/backup
tests_unit_backup_SOURCES = %D%/unit/backup.c
tests_unit_backup_LDADD = $(store_libs)
check_PROGRAMS += tests/unit/identity
TESTS += tests/unit/identity
tests_unit_identity_SOURCES = %D%/unit/identity.c
tests_unit_identity_LDADD = $(store_libs)
tests_unit_moment_SOURCES = %D%/unit/moment.c
tests_unit_moment_LDADD = libvgtap.a libvgcore.a
tests_unit_plan_SOURCES = %D%/unit/plan.c
tests_unit_plan_LDADD = $(store_libs)
tests_unit_collection_SOURCES = %D%/unit/collection.c
tests_unit_collection_LDADD = $(store_libs)
tests_unit_recall_SOURCES = %D%/unit/recall.c
tests_unit_recall_LDADD = $(store_libs) -lm
tests_unit_tune_SOURCES = %D%/unit/tune.c
tests_unit_tune_LDADD = $(store_libs) -lm
tests_unit_search_SOURCES = %D%/unit/search.c
tests_unit_search_LDADD = $(store_libs) -lm
tests_cut_store_SOURCES = %D%/cut/store.c
tests_cut_store_LDADD = $(store_libs)
check_PROGRAMS += tests/unit/view
TESTS += tests/unit/view
tests_unit_view_SOURCES = %D%/unit/view.c
tests_unit_view_CPPFLAGS = $(AM_CPPFLAGS) $(FUSE3_CFLAGS)
tests_unit_view_LDADD = libvgfs.a $(store_libs) $(FUSE3_LIBS)
check_PROGRAMS += tests/fault/store
TESTS += tests/fault/store
tests_fault_store_SOURCES = %D%/fault/store.c $(memkit)
tests_fault_store_LDFLAGS = $(AM_LDFLAGS) $(mem_wraps) -Wl,--wrap=mmap
tests_fault_store_LDADD = $(store_libs)
check_PROGRAMS += tests/fault/collection_fields
TESTS += tests/fault/collection_fields
tests_fault_collection_fields_SOURCES = %D%/fault/collection_fields.c \
	$(memkit)
tests_fault_collection_fields_LDFLAGS = $(AM_LDFLAGS) $(mem_wraps)
tests_fault_collection_fields_LDADD = $(store_libs)
tests_unit_commit_SOURCES = %D%/unit/commit.c
tests_unit_commit_LDADD = $(store_libs)
tests_unit_indexer_SOURCES = %D%/unit/indexer.c
tests_unit_indexer_LDADD = $(store_libs)

# node, named, stage, timer: what the mount remembers between requests.
check_PROGRAMS += tests/unit/node tests/unit/named tests/unit/stage tests/unit/timer
TESTS += tests/unit/node tests/unit/named tests/unit/stage tests/unit/timer
tests_unit_node_SOURCES = %D%/unit/node.c
tests_unit_node_CPPFLAGS = $(AM_CPPFLAGS) $(FUSE3_CFLAGS)
tests_unit_node_LDADD = libvgtap.a libvgfs.a $(core_libs) $(FUSE3_LIBS)
tests_unit_named_SOURCES = %D%/unit/named.c
tests_unit_named_CPPFLAGS = $(AM_CPPFLAGS) $(FUSE3_CFLAGS)
tests_unit_named_LDADD = libvgtap.a libvgfs.a $(core_libs) $(FUSE3_LIBS)
tests_unit_stage_SOURCES = %D%/unit/stage.c
tests_unit_stage_CPPFLAGS = $(AM_CPPFLAGS) $(FUSE3_CFLAGS)
tests_unit_stage_LDADD = libvgtap.a libvgfs.a $(core_libs) $(FUSE3_LIBS)
tests_unit_timer_SOURCES = %D%/unit/timer.c
tests_unit_timer_CPPFLAGS = $(AM_CPPFLAGS) $(FUSE3_CFLAGS)
tests_unit_timer_LDADD = libvgtap.a libvgfs.a $(core_libs) $(FUSE3_LIBS)

# manifest: the root of all files.
noinst_LIBRARIES += libvgmanifestkit.a
libvgmanifestkit_a_SOURCES = %D%/manifestkit.c %D%/manifestkit.h
manifest_libs = libvgmanifestkit.a libvgtap.a libvgcore.a libvgstorage.a \
	libvgbase.a $(XXHASH_LIBS)
manifest_tests = %D%/unit/manifest %D%/unit/manifest_file \
	%D%/cut/manifest %D%/fault/manifest
check_PROGRAMS += $(manifest_tests)
TESTS += $(manifest_tests)
tests_unit_manifest_SOURCES = %D%/unit/manifest.c
tests_unit_manifest_LDADD = $(manifest_libs)
tests_unit_manifest_file_SOURCES = %D%/unit/manifest_file.c
tests_unit_manifest_file_LDADD = $(manifest_libs)
tests_cut_manifest_SOURCES = %D%/cut/manifest.c
tests_cut_manifest_LDADD = $(manifest_libs)
tests_fault_manifest_SOURCES = %D%/fault/manifest.c $(memkit)
tests_fault_manifest_LDFLAGS = $(AM_LDFLAGS) $(mem_wraps)
tests_fault_manifest_LDADD = $(manifest_libs)
fuzz_targets += tests/fuzz/manifest
tests_fuzz_manifest_SOURCES = %D%/fuzz/manifest.c $(fuzz_main)
tests_fuzz_manifest_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_manifest_LDADD = $(manifest_libs)

# checkpoint: what an open takes from files.
check_PROGRAMS += tests/unit/checkpoint
TESTS += tests/unit/checkpoint
tests_unit_checkpoint_SOURCES = %D%/unit/checkpoint.c
tests_unit_checkpoint_LDADD = $(store_libs)

# simdisk: a disk in memory for tests of everything that must survive it.
noinst_LIBRARIES += libvgsimdisk.a libvgsimkit.a
libvgsimdisk_a_SOURCES = %D%/simdisk.c %D%/simdisk.h %D%/simdisk_int.h \
	%D%/simdisk_crash.c %D%/simdisk_files.c %D%/simdisk_node.c
libvgsimkit_a_SOURCES = %D%/simkit.c %D%/simkit.h
simdisk_tests = %D%/unit/simdisk %D%/cut/simdisk %D%/cut/power
check_PROGRAMS += $(simdisk_tests)
TESTS += $(simdisk_tests)
sim_libs = libvgsimkit.a libvgsimdisk.a $(log_libs)
# damage: everything in a data directory flipped, lost, cut, swapped.
check_PROGRAMS += tests/cut/damage
TESTS += tests/cut/damage
tests_cut_damage_SOURCES = %D%/cut/damage.c
tests_cut_damage_LDADD = libvgsimdisk.a $(store_libs)
tests_unit_simdisk_SOURCES = %D%/unit/simdisk.c
tests_unit_simdisk_LDADD = $(sim_libs)
tests_cut_simdisk_SOURCES = %D%/cut/simdisk.c
tests_cut_simdisk_LDADD = $(sim_libs)
tests_cut_power_SOURCES = %D%/cut/power.c
tests_cut_power_LDADD = $(sim_libs)

# powerfs: the same disk, mounted, for the real program.
check_PROGRAMS += tests/powerfs
tests_powerfs_SOURCES = %D%/powerfs.c
tests_powerfs_CPPFLAGS = $(AM_CPPFLAGS) $(FUSE3_CFLAGS)
tests_powerfs_LDADD = libvgsimdisk.a libvgtap.a libvgbase.a $(FUSE3_LIBS)

# power: the whole store on such a disk, and what notices that a protection is
# missing.
noinst_LIBRARIES += libvgpowerkit.a
libvgpowerkit_a_SOURCES = %D%/powerkit.c %D%/powerkit.h \
	%D%/powerkit_life.c %D%/powerkit_life.h \
	%D%/powermodel.c %D%/powermodel.h \
	%D%/witness.c %D%/witness.h
power_libs = libvgpowerkit.a libvgsimdisk.a $(store_libs)
check_PROGRAMS += tests/cut/store_power
TESTS += tests/cut/store_power
tests_cut_store_power_SOURCES = %D%/cut/store_power.c
tests_cut_store_power_LDADD = $(power_libs)
check_PROGRAMS += tests/cut/store_mutants
TESTS += tests/cut/store_mutants
tests_cut_store_mutants_SOURCES = %D%/cut/store_mutants.c \
	%D%/mutants.c %D%/mutants.h
tests_cut_store_mutants_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=wire_frame_check,--wrap=wire_hash,--wrap=wire_hash_pair \
	-Wl,--wrap=wal_write,--wrap=collection_sync,--wrap=manifest_save \
	-Wl,--wrap=manifest_renew,--wrap=store_fail,--wrap=wal_append \
	-Wl,--wrap=collection_next_gen
tests_cut_store_mutants_LDADD = $(power_libs)

# colfile: columns on disk, their files cut and flipped, disks that fail.
noinst_LIBRARIES += libvgcolkit.a
libvgcolkit_a_SOURCES = %D%/colkit.c %D%/colkit.h
col_tests = %D%/unit/colfile %D%/cut/colfile %D%/fault/colfile
check_PROGRAMS += $(col_tests)
TESTS += $(col_tests)
tests_unit_colfile_SOURCES = %D%/unit/colfile.c
tests_unit_colfile_LDADD = libvgcolkit.a $(log_libs)
check_PROGRAMS += tests/unit/colfile_damage
TESTS += tests/unit/colfile_damage
tests_unit_colfile_damage_SOURCES = %D%/unit/colfile_damage.c
tests_unit_colfile_damage_LDADD = libvgcolkit.a $(log_libs)
tests_cut_colfile_SOURCES = %D%/cut/colfile.c
tests_cut_colfile_LDADD = libvgcolkit.a $(log_libs)
tests_fault_colfile_SOURCES = %D%/fault/colfile.c $(memkit)
tests_fault_colfile_LDADD = libvgcolkit.a $(log_libs)
tests_fault_colfile_LDFLAGS = $(AM_LDFLAGS) $(mem_wraps) \
	-Wl,--wrap=aligned_alloc

# snap: snapshots.
check_PROGRAMS += tests/unit/snap
TESTS += tests/unit/snap
tests_unit_snap_SOURCES = %D%/unit/snap.c
tests_unit_snap_LDADD = $(store_libs)
check_PROGRAMS += tests/unit/snap_log
TESTS += tests/unit/snap_log
tests_unit_snap_log_SOURCES = %D%/unit/snap_log.c
tests_unit_snap_log_LDADD = $(store_libs)
check_PROGRAMS += tests/unit/snap_files
TESTS += tests/unit/snap_files
tests_unit_snap_files_SOURCES = %D%/unit/snap_files.c
tests_unit_snap_files_LDADD = $(store_libs)
check_PROGRAMS += tests/unit/snap_damage
TESTS += tests/unit/snap_damage
tests_unit_snap_damage_SOURCES = %D%/unit/snap_damage.c
tests_unit_snap_damage_LDADD = $(store_libs)

# match: the versions that a filter means, shared.
check_PROGRAMS += tests/unit/match
TESTS += tests/unit/match
tests_unit_match_SOURCES = %D%/unit/match.c
tests_unit_match_LDADD = $(store_libs)

# collection_fields: indexes of fields in checkpoints.
check_PROGRAMS += tests/unit/collection_fields
TESTS += tests/unit/collection_fields
tests_unit_collection_fields_SOURCES = %D%/unit/collection_fields.c
tests_unit_collection_fields_LDADD = libvgsimdisk.a $(store_libs)

# compact: generations.
check_PROGRAMS += tests/unit/held
TESTS += tests/unit/held
tests_unit_held_SOURCES = %D%/unit/held.c
tests_unit_held_LDADD = $(store_libs)
check_PROGRAMS += tests/unit/auto_index tests/unit/compact tests/unit/dtype
TESTS += tests/unit/auto_index tests/unit/compact tests/unit/dtype
tests_unit_auto_index_SOURCES = %D%/unit/auto_index.c
tests_unit_auto_index_LDADD = $(store_libs)
tests_unit_dtype_SOURCES = %D%/unit/dtype.c
tests_unit_dtype_LDADD = $(store_libs)
tests_unit_compact_SOURCES = %D%/unit/compact.c
tests_unit_compact_LDADD = $(store_libs)

# repair: dead rows leave the graph.
check_PROGRAMS += tests/unit/repair
TESTS += tests/unit/repair
tests_unit_repair_SOURCES = %D%/unit/repair.c
tests_unit_repair_LDADD = $(store_libs)

# atomic: commits that are whole, and changes on a condition.
check_PROGRAMS += tests/unit/atomic
TESTS += tests/unit/atomic
tests_unit_atomic_SOURCES = %D%/unit/atomic.c
tests_unit_atomic_LDADD = $(store_libs)

# filter, fields: which records are meant, by metadata and by indexes of it.
noinst_LIBRARIES += libvgfieldkit.a
libvgfieldkit_a_SOURCES = %D%/fieldkit.c %D%/fieldkit.h
field_libs = libvgfieldkit.a libvgtap.a libvgcore.a libvgbase.a \
	$(XXHASH_LIBS) $(ROARING_LIBS)
field_tests = %D%/unit/filter %D%/unit/fields %D%/unit/fields_threads \
	%D%/unit/fields_cve %D%/unit/sortkey %D%/fault/fields
check_PROGRAMS += $(field_tests)
TESTS += $(field_tests)
tests_unit_filter_SOURCES = %D%/unit/filter.c
tests_unit_filter_LDADD = $(field_libs)
tests_unit_fields_SOURCES = %D%/unit/fields.c
tests_unit_fields_LDADD = $(field_libs)
tests_unit_fields_threads_SOURCES = %D%/unit/fields_threads.c
tests_unit_fields_threads_LDADD = $(field_libs)
tests_unit_fields_cve_SOURCES = %D%/unit/fields_cve.c
tests_unit_fields_cve_LDADD = $(field_libs)
tests_unit_sortkey_SOURCES = %D%/unit/sortkey.c
tests_unit_sortkey_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=realloc,--wrap=calloc
tests_unit_sortkey_LDADD = $(field_libs)
tests_fault_fields_SOURCES = %D%/fault/fields.c
tests_fault_fields_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
tests_fault_fields_LDADD = $(field_libs)
fuzz_targets += %D%/fuzz/filter %D%/fuzz/fields
tests_fuzz_filter_SOURCES = %D%/fuzz/filter.c $(fuzz_main)
tests_fuzz_filter_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_filter_LDADD = $(field_libs)
tests_fuzz_fields_SOURCES = %D%/fuzz/fields.c $(fuzz_main)
tests_fuzz_fields_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fields_LDADD = $(field_libs)
