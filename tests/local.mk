# SPDX-License-Identifier: Apache-2.0

noinst_LIBRARIES += libvgtap.a
libvgtap_a_SOURCES = %D%/tap.c %D%/tap.h

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
