# SPDX-License-Identifier: Apache-2.0
# fs: the mounted tree. The files of libvgfs.a that stand first are pure:
# they know neither FUSE nor the store. Modules add themselves below.
noinst_LIBRARIES += libvgfs.a
libvgfs_a_SOURCES =

# name: ids as file names.
libvgfs_a_SOURCES += %D%/name.c %D%/name.h
