# SPDX-License-Identifier: Apache-2.0

noinst_LIBRARIES += libvgtap.a
libvgtap_a_SOURCES = %D%/tap.c %D%/tap.h
