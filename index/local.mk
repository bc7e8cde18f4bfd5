# SPDX-License-Identifier: Apache-2.0
# index: distances, exact scan, graph. No I/O, no files, no JSON.
# Every processor is to round alike, so nothing is contracted (dist.h).
noinst_LIBRARIES += libvgindex.a
libvgindex_a_CFLAGS = $(AM_CFLAGS) -ffp-contract=off
libvgindex_a_SOURCES = \
	%D%/among.h \
	%D%/dist.c \
	%D%/dist.h \
	%D%/dist_avx2.c \
	%D%/dist_avx512.c \
	%D%/dist_half.h \
	%D%/dist_int.h \
	%D%/dist_neon.c \
	%D%/dist_scalar.c \
	%D%/dist_sift.c \
	%D%/dist_signs.c \
	%D%/dist_signs.h \
	%D%/dist_signs_avx2.c \
	%D%/dist_signs_avx512.c \
	%D%/dist_signs_neon.c \
	%D%/flat.c \
	%D%/flat.h \
	%D%/heap.h \
	%D%/hnsw.c \
	%D%/hnsw.h \
	%D%/hnsw_among.c \
	%D%/hnsw_check.c \
	%D%/hnsw_code.c \
	%D%/hnsw_int.h \
	%D%/hnsw_link.c \
	%D%/hnsw_load.c \
	%D%/hnsw_near.c \
	%D%/hnsw_near_walk.c \
	%D%/hnsw_repair.c \
	%D%/hnsw_save.c \
	%D%/hnsw_search.c \
	%D%/hnsw_stream.h \
	%D%/ivf.c \
	%D%/ivf.h \
	%D%/ivf_check.c \
	%D%/ivf_int.h \
	%D%/ivf_load.c \
	%D%/ivf_save.c \
	%D%/ivf_search.c \
	%D%/ivf_stream.h \
	%D%/ivf_train.c \
	%D%/kmeans.c \
	%D%/kmeans.h \
	%D%/pq.c \
	%D%/pq.h \
	%D%/quant.c \
	%D%/quant.h \
	%D%/rows.h \
	%D%/signs.c \
	%D%/signs.h
