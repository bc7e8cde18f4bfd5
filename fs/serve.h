/* SPDX-License-Identifier: Apache-2.0 */
/* serve.h: the daemon: opens the store and serves the tree until it ends. */
#ifndef FS_SERVE_H
#define FS_SERVE_H

#include "fs/holder.h"

/* The daemon's life; a holder_serve_fn. ctx is not used. */
int serve(void *ctx, struct holder_env *env);

#endif
