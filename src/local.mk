# SPDX-License-Identifier: Apache-2.0
# base: vocabulary, messages, one encoding for log, disk and network.
noinst_LIBRARIES += libvgbase.a
libvgbase_a_SOURCES = \
	%D%/log.c \
	%D%/log.h \
	%D%/vg.h
