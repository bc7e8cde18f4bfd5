/* SPDX-License-Identifier: Apache-2.0 */
/* demo.h: the smallest file system that has all of the mount's outer shell. */
#ifndef TESTS_UNIT_DEMO_H
#define TESTS_UNIT_DEMO_H

/*
 * demo DATADIR MOUNTPOINT [-o ...]: what vecgridfs's main would do, around a
 * root that has these files:
 *
 *   hello  "hello\n"
 *   ids    "DAEMON HOLDER UMASK CWD\n", as the daemon sees them
 *   note   what is written here goes to DATADIR/note when the tree ends
 *
 * A file in DATADIR changes how the start goes: `refuse` fails with a sentence,
 * `silent` fails without one, `crash` aborts, `hang` (a fifo) waits until
 * somebody writes. DATADIR/LOCK is held while the daemon lives; who comes
 * second waits for it.
 */
int demo_main(int argc, char **argv);

#endif
