# SPDX-License-Identifier: Apache-2.0
# index: distances, exact scan, graph. No I/O, no files, no JSON.
# Every processor is to round alike, so nothing is contracted (dist.h).
noinst_LIBRARIES += libvgindex.a
libvgindex_a_CFLAGS = $(AM_CFLAGS) -ffp-contract=off
libvgindex_a_SOURCES = \
	%D%/dist.c \
	%D%/dist.h \
	%D%/dist_avx2.c \
	%D%/dist_avx512.c \
	%D%/dist_half.h \
	%D%/dist_int.h \
	%D%/dist_neon.c \
	%D%/dist_scalar.c \
	%D%/dist_sift.c \
	%D%/flat.c \
	%D%/flat.h \
	%D%/heap.h \
	%D%/hnsw.c \
	%D%/hnsw.h \
	%D%/hnsw_check.c \
	%D%/hnsw_code.c \
	%D%/hnsw_int.h \
	%D%/hnsw_load.c \
	%D%/hnsw_save.c \
	%D%/hnsw_search.c \
	%D%/hnsw_stream.h \
	%D%/quant.c \
	%D%/quant.h \
	%D%/rows.h
