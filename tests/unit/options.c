/* SPDX-License-Identifier: Apache-2.0 */
/* options.c: the command line is read as the manual says. */
#include "fs/options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FUSE_USE_VERSION 314
#include <fuse_opt.h>

#include "tests/tap.h"

#define ARGS_MAX 12

static char why[512];

/* Parses a command line given as words; NULL ends them. */
static int parse(struct options *o, const char *const *word)
{
	char *argv[ARGS_MAX + 1] = {0};
	int argc = 0;

	memset(o, 0, sizeof(*o));
	argv[argc++] = (char *)(uintptr_t)"vecgridfs";
	for (; *word; word++) {
		must(argc < ARGS_MAX);
		argv[argc++] = (char *)(uintptr_t)*word;
	}
	return options_parse(argc, argv, why, sizeof(why), o);
}

#define PARSE(o, ...) parse(o, (const char *const[]){__VA_ARGS__, NULL})

/* Whether libfuse is going to read this option: a whole item of a list. */
static bool passes(const struct options *o, const char *option)
{
	size_t len = strlen(option);

	for (int i = 0; i < o->fuse->argc; i++) {
		const char *item = o->fuse->argv[i];

		item += strncmp(item, "-o", 2) ? 0 : 2;
		for (; item; item = strchr(item, ',')) {
			item += *item == ',';
			if (!strncmp(item, option, len) &&
				(!item[len] || item[len] == ','))
				return true;
		}
	}
	return false;
}

static void test_defaults(void)
{
	struct options o;
	char want[128];

	ok(PARSE(&o, "data", "mnt") == 0, "two paths are enough");
	snprintf(want, sizeof(want), "%s/data", scratch());
	ok(!strcmp(o.data_dir, want), "the data directory becomes absolute");
	snprintf(want, sizeof(want), "%s/mnt", scratch());
	ok(!strcmp(o.mountpoint, want), "the mountpoint becomes absolute");
	ok(o.action == OPTIONS_MOUNT && o.durability == OPTIONS_CLOSE &&
			o.spin_us == OPTIONS_SPIN_AUTO && !o.n_threads &&
			o.staging_max >= OPTIONS_STAGING_MIN &&
			o.staging_max <= OPTIONS_STAGING_MOST &&
			!o.foreground && !o.debug && !o.allow_other,
		"everything else has its default");
	snprintf(want, sizeof(want), "fsname=%s/data", scratch());
	ok(passes(&o, want), "fsname is the data directory");
	ok(passes(&o, "subtype=vecgridfs"), "subtype is our name");
	ok(!passes(&o, "default_permissions"),
		"permissions are not checked for a private mount");
	options_fini(&o);
	options_fini(&o);
	ok(!o.fuse && !o.data_dir, "fini is harmless twice");
}

static void test_own_options(void)
{
	struct options o;

	ok(PARSE(&o, "data", "-o", "durability=async,spin=0,threads=3,norestart", "mnt",
		   "-ostaging=64M", "-f") == 0,
		"our options stand anywhere, in lists or alone");
	ok(o.durability == OPTIONS_ASYNC && o.spin_us == 0 &&
			o.n_threads == 3 && o.staging_max == 64ull << 20 &&
			o.foreground && !o.debug && o.norestart,
		"and each is understood");
	ok(!passes(&o, "spin=0") && !passes(&o, "threads=3") &&
			!passes(&o, "norestart"),
		"libfuse does not see them");
	options_fini(&o);
	ok(!PARSE(&o, "data", "mnt", "-o", "durability=fsync,max_threads=2") &&
			o.durability == OPTIONS_FSYNC && o.n_threads == 2,
		"libfuse's max_threads is our threads");
	options_fini(&o);
	ok(!PARSE(&o, "data", "mnt", "-s") && o.n_threads == 1,
		"-s is one thread");
	options_fini(&o);
	ok(!PARSE(&o, "data", "mnt", "-d") && o.debug && o.foreground &&
			passes(&o, "-d"),
		"-d stays in the foreground and libfuse prints");
	options_fini(&o);
	ok(!PARSE(&o, "data", "mnt", "-o", "clone_fd,max_idle_threads=3") &&
			!passes(&o, "clone_fd"),
		"tunings of libfuse's own loop are taken and dropped");
	options_fini(&o);
}

static void test_passed_options(void)
{
	struct options o;
	struct fuse_args args;

	/* This is what mount(8) makes of an fstab line. */
	ok(PARSE(&o, "data", "mnt", "-o",
		   "rw,nosuid,nodev,noatime,allow_other,dev,suid") == 0,
		"a line of fstab is taken");
	ok(passes(&o, "nosuid") && passes(&o, "noatime") && passes(&o, "dev") &&
			passes(&o, "allow_other"),
		"what mount.fuse adds is passed on");
	ok(o.allow_other && passes(&o, "default_permissions"),
		"allow_other implies default_permissions");
	ok(!options_args(&o, &args) && args.argc == o.fuse->argc &&
			args.argv != o.fuse->argv && args.allocated,
		"each session gets a copy of its own");
	fuse_opt_free_args(&args);
	options_fini(&o);
	ok(!PARSE(&o, "data", "mnt", "-o", "fsname=me,subtype=mine,nonsense") &&
			passes(&o, "fsname=me") && passes(&o, "subtype=mine") &&
			!passes(&o, "subtype=vecgridfs"),
		"a given fsname and subtype stand");
	ok(passes(&o, "nonsense"), "an option we do not know is libfuse's");
	options_fini(&o);
	ok(!PARSE(&o, "a,b\\c", "mnt") && passes(&o, "fsname=/") == false,
		"a data directory may have commas");
	bool escaped = false;

	for (int i = 0; i < o.fuse->argc; i++)
		escaped |= strstr(o.fuse->argv[i], "/a\\,b\\\\c") != NULL;
	ok(escaped, "which are escaped for libfuse");
	options_fini(&o);
}

static void test_actions(void)
{
	struct options o;

	ok(!PARSE(&o, "--help") && o.action == OPTIONS_HELP && !o.data_dir,
		"--help needs no paths");
	options_fini(&o);
	ok(!PARSE(&o, "-h", "x") && o.action == OPTIONS_HELP, "nor does -h");
	options_fini(&o);
	ok(!PARSE(&o, "-V") && o.action == OPTIONS_VERSION, "-V likewise");
	options_fini(&o);
	ok(!PARSE(&o, "--version") && o.action == OPTIONS_VERSION,
		"--version likewise");
	options_fini(&o);
	ok(!PARSE(&o, "data", "mnt", "-o",
		   "ro,nosuid,relatime,remount,user_id=0,group_id=0") &&
			o.action == OPTIONS_REMOUNT &&
			!strcmp(o.remount, "remount,ro,nosuid,relatime"),
		"a remount keeps the flags that mount(2) can change");
	options_fini(&o);
	ok(!PARSE(&o, "data", "mnt", "-o", "remount") &&
			!strcmp(o.remount, "remount"),
		"a remount may be bare");
	options_fini(&o);
}

static void test_check(void)
{
	struct options o;

	ok(PARSE(&o, "--check", "mnt") == 0 && o.action == OPTIONS_CHECK &&
			o.data_dir && strstr(o.data_dir, "/mnt") &&
			!o.mountpoint,
		"--check takes the data directory alone");
	options_fini(&o);
	ok(PARSE(&o, "--check") == -EINVAL && strstr(why, "--check DATADIR"),
		"not without it: %s", why);
	ok(PARSE(&o, "--check", "mnt", "link") == -EINVAL,
		"nor with a mountpoint");
	ok(PARSE(&o, "--check", "missing") == -EINVAL &&
			strstr(why, "'missing' cannot be reached"),
		"nor one that is not there: %s", why);
	ok(PARSE(&o, "data", "mnt", "-o", "recovery") == 0 && o.is_recovery &&
			!passes(&o, "recovery"),
		"recovery is ours");
	options_fini(&o);
	ok(PARSE(&o, "data", "mnt") == 0 && !o.is_recovery,
		"and not so without a word");
	options_fini(&o);
}

static void test_refusals(void)
{
	static const struct {
		const char *word[4];
		const char *named; /* what the sentence names */
	} t[] = {
		{{"data"}, "MOUNTPOINT"},
		{{"-f"}, "DATADIR"},
		{{"data", "mnt", "third"}, "'third'"},
		{{"data", "mnt", "-odurability=never"}, "durability=never"},
		{{"data", "mnt", "-ospin=-1"}, "spin=-1"},
		{{"data", "mnt", "-ospin=1000001"}, "spin=1000001"},
		{{"data", "mnt", "-ospin="}, "spin="},
		{{"data", "mnt", "-othreads=0"}, "threads=0"},
		{{"data", "mnt", "-othreads=65"}, "threads=65"},
		{{"data", "mnt", "-othreads=2x"}, "threads=2x"},
		{{"data", "mnt", "-ostaging=1"}, "staging=1"},
		{{"data", "mnt", "-ostaging=17G"}, "staging=17G"},
		{{"data", "mnt", "-ostaging=99999999999999999999"}, "staging="},
		{{"data", "mnt", "-ostaging=18446744073709551615G"}, "staging="},
		{{"data", "no/mnt"}, "'no/mnt'"},
		{{"no/data", "mnt"}, "'no/data'"},
		{{"data", "mnt/file/x"}, "'mnt/file/x'"},
	};

	for (size_t i = 0; i < VG_ARRAY_LEN(t); i++) {
		const char *word[5] = {0};
		struct options o;

		memcpy(word, t[i].word, sizeof(t[i].word));
		ok(parse(&o, word) == -EINVAL && strstr(why, t[i].named),
			"refused: %s", why);
	}
}

static void test_paths(void)
{
	struct options o;
	char want[128];

	snprintf(want, sizeof(want), "%s/mnt", scratch());
	ok(!PARSE(&o, "data", "link") && !strcmp(o.mountpoint, want),
		"a symbolic link is followed");
	options_fini(&o);
	snprintf(want, sizeof(want), "%s/mnt/new", scratch());
	ok(!PARSE(&o, "mnt/../link/new//", "mnt") && !strcmp(o.data_dir, want),
		"a data directory that is missing gets its place's path");
	options_fini(&o);
	ok(!PARSE(&o, "/vgtest-missing", "mnt") &&
			!strcmp(o.data_dir, "/vgtest-missing"),
		"also in the root directory");
	options_fini(&o);
	ok(!PARSE(&o, "data", "/dev/fd/7") &&
			!strcmp(o.mountpoint, "/dev/fd/7"),
		"a mount that mount(8) made already is taken by its descriptor");
	options_fini(&o);
}

int main(void)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f;

	plan(58);
	must(chdir(scratch()) == 0 && mkdir("mnt", 0755) == 0);
	must(symlink("mnt", "link") == 0);
	must(close(open("mnt/file", O_CREAT | O_WRONLY, 0644)) == 0);
	test_defaults();
	test_own_options();
	test_passed_options();
	test_actions();
	test_check();
	test_refusals();
	test_paths();
	f = open_memstream(&text, &len);
	must(f);
	options_usage(f);
	fclose(f);
	ok(strstr(text, "usage: vecgridfs DATADIR MOUNTPOINT"),
		"the usage names the arguments");
	ok(strstr(text, "durability=close") && strstr(text, "staging=SIZE"),
		"and our options");
	free(text);
	must(chdir("/") == 0);
	return done();
}
