/* SPDX-License-Identifier: Apache-2.0 */
/* main.c: vecgridfs(8): the command line, wired to the daemon. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/holder.h"
#include "fs/options.h"
#include "fs/serve.h"
#include "fs/view.h"

static int print_version(void)
{
	char *text;
	size_t len;

	if (view_version(&text, &len) < 0)
		return HOLDER_MOUNT;
	fwrite(text, 1, len, stdout);
	free(text);
	return HOLDER_OK;
}

/* mount -o remount: the kernel does it; there is nothing for a daemon. */
static int remount(const struct options *o)
{
	execlp("mount", "mount", "-i", "-o", o->remount, o->mountpoint,
		(char *)NULL);
	perror("vecgridfs: mount(8) cannot be run to remount");
	return HOLDER_MOUNT;
}

int main(int argc, char **argv)
{
	struct options o;
	char why[512] = "";
	int status = HOLDER_USAGE;

	if (options_parse(argc, argv, why, sizeof(why), &o) < 0) {
		fprintf(stderr, "vecgridfs: %s\n", why);
		return HOLDER_USAGE;
	}
	switch (o.action) {
	case OPTIONS_HELP:
		options_usage(stdout);
		status = HOLDER_OK;
		break;
	case OPTIONS_VERSION:
		status = print_version();
		break;
	case OPTIONS_REMOUNT:
		status = remount(&o);
		break;
	case OPTIONS_MOUNT:
		status = holder_main(&o, serve, NULL);
		break;
	}
	options_fini(&o);
	return status;
}
