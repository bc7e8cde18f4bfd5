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

# options, loop, holder: the outer shell of the mount.
check_PROGRAMS += tests/unit/options tests/unit/loop tests/unit/holder
TESTS += tests/unit/options tests/unit/loop tests/unit/holder
tests_unit_options_SOURCES = %D%/unit/options.c
tests_unit_options_CPPFLAGS = $(AM_CPPFLAGS) $(FUSE3_CFLAGS)
tests_unit_options_LDADD = libvgtap.a libvgfs.a $(FUSE3_LIBS)
tests_unit_loop_SOURCES = %D%/unit/loop.c
tests_unit_loop_CPPFLAGS = $(AM_CPPFLAGS) $(FUSE3_CFLAGS)
tests_unit_loop_LDADD = libvgtap.a libvgfs.a $(FUSE3_LIBS)
tests_unit_holder_SOURCES = %D%/unit/holder.c
tests_unit_holder_CPPFLAGS = $(AM_CPPFLAGS) $(FUSE3_CFLAGS)
tests_unit_holder_LDADD = libvgtap.a libvgfs.a $(FUSE3_LIBS)

# budget, layers, man: what the code and the page look like
TESTS += %D%/budget.sh %D%/layers.sh %D%/man.sh
EXTRA_DIST += %D%/budget.sh %D%/layers.sh %D%/man.sh
