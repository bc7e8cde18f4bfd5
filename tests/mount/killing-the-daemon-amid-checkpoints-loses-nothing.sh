#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The same rounds of kill -9, with a checkpoint every 64 KiB and nothing kept
# for copies: what is killed is writing columns, manifests, or removing files.
export VG_MOUNT_OPTS=checkpoint=64K,backup_grace=0
exec bash "$(dirname "$0")/killing-the-daemon-loses-nothing-acknowledged.sh"
