# SPDX-License-Identifier: Apache-2.0
# index: distances, exact scan, graph. No I/O, no files, no JSON.
