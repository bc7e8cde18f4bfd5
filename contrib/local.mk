# SPDX-License-Identifier: Apache-2.0

# what packagers and people take as it is
dist_man_MANS += %D%/vecgridfs.8
EXTRA_DIST += %D%/quickstart %D%/check %D%/need.sh %D%/bench/README.md %D%/bench/python_peer.py \
	%D%/vecgridfs@.service.in
systemdunitdir = $(prefix)/lib/systemd/system
nodist_systemdunit_DATA = %D%/vecgridfs@.service
CLEANFILES += $(nodist_systemdunit_DATA)
%D%/vecgridfs@.service: %D%/vecgridfs@.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) %D% && sed 's|[@]sbindir@|$(sbindir)|' \
		$(srcdir)/%D%/vecgridfs@.service.in >$@

# What benches share: clocks and mounted trees; the data that they load.
bench_rig = %D%/bench/rig.c %D%/bench/rig.h
bench_vectors = %D%/bench/vectors.c %D%/bench/vectors.h \
	tests/recall/data.c tests/recall/data.h

# hnsw_race: our graph against hnswlib; make contrib/bench/hnsw_race
if HAVE_HNSWLIB
EXTRA_PROGRAMS += contrib/bench/hnsw_race
contrib_bench_hnsw_race_SOURCES = \
	%D%/bench/hnsw_race.c \
	%D%/bench/hnsw_race_peer.cc \
	%D%/bench/hnsw_race_peer.h \
	$(bench_rig) $(bench_vectors)
contrib_bench_hnsw_race_LDADD = libvgindex.a
CLEANFILES += contrib/bench/hnsw_race
# The peer gets all that its compiler can do; it includes its own header only.
contrib/bench/hnsw_race_peer.$(OBJEXT): CXXFLAGS += -O3 -march=native
endif

# scan_bandwidth: the exact scan beside a plain loop over the same memory;
# make contrib/bench/scan_bandwidth
EXTRA_PROGRAMS += contrib/bench/scan_bandwidth
contrib_bench_scan_bandwidth_SOURCES = %D%/bench/scan_bandwidth.c $(bench_rig)
contrib_bench_scan_bandwidth_LDADD = libvgindex.a
CLEANFILES += contrib/bench/scan_bandwidth

# ivf: an inverted file by nprobe and ef; make contrib/bench/ivf
EXTRA_PROGRAMS += contrib/bench/ivf
contrib_bench_ivf_SOURCES = %D%/bench/ivf.c \
	$(bench_rig) $(bench_vectors)
contrib_bench_ivf_LDADD = libvgindex.a
CLEANFILES += contrib/bench/ivf

# filters: rates under filters; make contrib/bench/filters
EXTRA_PROGRAMS += contrib/bench/filters
contrib_bench_filters_SOURCES = %D%/bench/filters.c \
	$(bench_rig) $(bench_vectors)
contrib_bench_filters_LDADD = $(core_libs)
CLEANFILES += contrib/bench/filters

# churn: a graph that was changed against a fresh one; make contrib/bench/churn
EXTRA_PROGRAMS += contrib/bench/churn
contrib_bench_churn_SOURCES = %D%/bench/churn.c \
	$(bench_rig) $(bench_vectors)
contrib_bench_churn_LDADD = libvgindex.a
CLEANFILES += contrib/bench/churn

# parse: bodies, imports and numbers; make contrib/bench/parse
EXTRA_PROGRAMS += contrib/bench/parse
contrib_bench_parse_SOURCES = %D%/bench/parse.c $(bench_rig)
contrib_bench_parse_LDADD = libvgcore.a
CLEANFILES += contrib/bench/parse

# log: commits of the log beside bare writes; make contrib/bench/log
EXTRA_PROGRAMS += contrib/bench/log
contrib_bench_log_SOURCES = %D%/bench/log.c $(bench_rig)
contrib_bench_log_LDADD = libvgstorage.a libvgbase.a $(URING_LIBS)
CLEANFILES += contrib/bench/log

# mount_floor, mount_scale, commits: the mounted tree beside a filesystem that
# does nothing; they run the vecgridfs that stands in the build directory.
bench_null = %D%/bench/nullfs.c %D%/bench/nullfs.h
EXTRA_PROGRAMS += contrib/bench/mount_floor
contrib_bench_mount_floor_SOURCES = %D%/bench/mount_floor.c \
	$(bench_rig) $(bench_null) $(bench_vectors)
contrib_bench_mount_floor_CPPFLAGS = $(AM_CPPFLAGS) $(FUSE3_CFLAGS)
contrib_bench_mount_floor_LDADD = libvgfs.a $(core_libs) $(FUSE3_LIBS)
CLEANFILES += contrib/bench/mount_floor
EXTRA_PROGRAMS += contrib/bench/batch
contrib_bench_batch_SOURCES = %D%/bench/batch.c \
	$(bench_rig) $(bench_vectors)
contrib_bench_batch_LDADD = $(core_libs)
CLEANFILES += contrib/bench/batch
EXTRA_PROGRAMS += contrib/bench/crowd
contrib_bench_crowd_SOURCES = %D%/bench/crowd.c \
	$(bench_rig) $(bench_vectors)
contrib_bench_crowd_LDADD = libvgindex.a libvgbase.a
CLEANFILES += contrib/bench/crowd
EXTRA_PROGRAMS += contrib/bench/mount_scale
contrib_bench_mount_scale_SOURCES = %D%/bench/mount_scale.c $(bench_rig)
CLEANFILES += contrib/bench/mount_scale
EXTRA_PROGRAMS += contrib/bench/commits
contrib_bench_commits_SOURCES = %D%/bench/commits.c \
	$(bench_rig) $(bench_null) \
	tests/recall/data.c \
	tests/recall/data.h
contrib_bench_commits_CPPFLAGS = $(AM_CPPFLAGS) $(FUSE3_CFLAGS)
contrib_bench_commits_LDADD = libvgfs.a libvgindex.a libvgbase.a $(FUSE3_LIBS)
CLEANFILES += contrib/bench/commits

# restart: from exec to the first answer; make contrib/bench/restart
EXTRA_PROGRAMS += contrib/bench/restart
contrib_bench_restart_SOURCES = %D%/bench/restart.c $(bench_rig)
contrib_bench_restart_LDADD = $(core_libs)
CLEANFILES += contrib/bench/restart

# rerank: searches beyond memory beside the disk; make contrib/bench/rerank
EXTRA_PROGRAMS += contrib/bench/rerank
contrib_bench_rerank_SOURCES = %D%/bench/rerank.c $(bench_rig)
contrib_bench_rerank_LDADD = $(core_libs)
CLEANFILES += contrib/bench/rerank

# checkpoints: what one costs who puts meanwhile; make contrib/bench/checkpoints
EXTRA_PROGRAMS += contrib/bench/checkpoints
contrib_bench_checkpoints_SOURCES = %D%/bench/checkpoints.c $(bench_rig)
CLEANFILES += contrib/bench/checkpoints
