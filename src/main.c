/* SPDX-License-Identifier: Apache-2.0 */
/* main.c: vecgridfs(8): the command line, wired to the daemon. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/holder.h"
#include "fs/options.h"
#include "fs/serve.h"
#include "fs/view.h"
#include "src/check.h"
#include "src/log.h"

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

static void print_line(void *ctx, bool is_finding, const char *text)
{
	(void)ctx;
	printf("%s%s\n", is_finding ? "" : "note: ", text);
}

/* Exit statuses of --check, as fsck programs have them. */
enum { CHECK_CLEAN = 0, CHECK_FOUND = 1, CHECK_CANNOT = 2 };

/* Whether a command line that cannot be parsed asks for --check. */
static bool is_check(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--check") == 0)
			return true;
	return false;
}

static int check(const struct options *o)
{
	struct check_config cfg = {.dir = o->data_dir, .say = print_line};
	struct check_result res;

	log_level_set(LOG_ERR);
	if (check_each(&cfg, &res) < 0) {
		fprintf(stderr, "vecgridfs: %s\n", res.error);
		return CHECK_CANNOT;
	}
	printf("%s: MANIFEST.%" PRIu64 " and the log to change %" PRIu64
	       ", %" PRIu32 " collections, %" PRIu64 " records: ",
		o->data_dir, res.manifest, res.lsn, res.collections,
		res.records);
	if (res.findings == 0)
		printf("nothing is wrong\n");
	else
		printf("%" PRIu64 " findings\n", res.findings);
	return res.findings ? CHECK_FOUND : CHECK_CLEAN;
}

int main(int argc, char **argv)
{
	struct options o;
	char why[512] = "";
	int status = HOLDER_USAGE;

	if (options_parse(argc, argv, why, sizeof(why), &o) < 0) {
		fprintf(stderr, "vecgridfs: %s\n", why);
		return is_check(argc, argv) ? CHECK_CANNOT : HOLDER_USAGE;
	}
	switch (o.action) {
	case OPTIONS_HELP:
		options_usage(stdout);
		status = HOLDER_OK;
		break;
	case OPTIONS_VERSION:
		status = print_version();
		break;
	case OPTIONS_CHECK:
		status = check(&o);
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
