# SPDX-License-Identifier: Apache-2.0
# base: vocabulary, messages, one encoding for log, disk and network.
noinst_LIBRARIES += libvgbase.a
libvgbase_a_SOURCES = \
	%D%/log.c \
	%D%/log.h \
	%D%/vg.h

# wire: the cursor and the frame.
libvgbase_a_SOURCES += %D%/wire.c %D%/wire.h

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
