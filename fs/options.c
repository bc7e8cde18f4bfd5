/* SPDX-License-Identifier: Apache-2.0 */
/* options.c: see options.h. */
#include "fs/options.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/memory.h"

#define FUSE_USE_VERSION 314
#include <fuse_opt.h>

/*
 * fuse_opt_parse fills this from keys below; it knows the escapes of -o lists
 * and fstab lines, so we never cut such a list ourselves.
 */
struct raw {
	char *path[2]; /* DATADIR, MOUNTPOINT as given */
	int n_paths;
	char *durability, *spin, *staging, *threads;
	char *checkpoint, *backup_grace;
	int has_fsname, has_subtype;
	int has_help, has_version, has_check, is_recovery;
	int is_foreground, is_debug, is_single;
	int allow_other, default_permissions, is_remount, norestart;
	char *flags; /* for a remount: "remount,ro,noatime" */
	char *why;
	size_t cap;
};

enum key { KEY_DEBUG, KEY_ALLOW_OTHER, KEY_FSNAME, KEY_SUBTYPE, KEY_UNUSED };

#define RAW(text, field, value) {text, offsetof(struct raw, field), value}
/* FUSE_OPT_KEY without the conversion that clang warns of. */
#define KEYED(text, key) {text, (unsigned long)UINT_MAX, key}

static const struct fuse_opt raw_opts[] = {
	RAW("durability=%s", durability, 0),
	RAW("spin=%s", spin, 0),
	RAW("staging=%s", staging, 0),
	RAW("checkpoint=%s", checkpoint, 0),
	RAW("backup_grace=%s", backup_grace, 0),
	RAW("threads=%s", threads, 0),
	RAW("max_threads=%s", threads, 0), /* libfuse's word for the same */
	RAW("-h", has_help, 1),
	RAW("--help", has_help, 1),
	RAW("-V", has_version, 1),
	RAW("--version", has_version, 1),
	RAW("--check", has_check, 1),
	RAW("recovery", is_recovery, 1),
	RAW("-f", is_foreground, 1),
	RAW("-s", is_single, 1),
	RAW("remount", is_remount, 1),
	RAW("norestart", norestart, 1),
	RAW("default_permissions", default_permissions, 1),
	KEYED("-d", KEY_DEBUG),
	KEYED("debug", KEY_DEBUG),
	KEYED("allow_other", KEY_ALLOW_OTHER),
	KEYED("fsname=", KEY_FSNAME),
	KEYED("subtype=", KEY_SUBTYPE),
	/* Tunings of libfuse's loop, which is not the one that runs here. */
	KEYED("clone_fd", KEY_UNUSED),
	KEYED("max_idle_threads=", KEY_UNUSED),
	FUSE_OPT_END,
};

static int refuse(char *why, size_t cap, const char *fmt, ...)
	VG_PRINTF(3, 4);

static int refuse(char *why, size_t cap, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, cap, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* A mount flag that mount(2) can change on a mounted tree. */
static bool is_mount_flag(const char *arg)
{
	static const char *const flag[] = {"ro", "rw", "suid", "nosuid", "dev",
		"nodev", "exec", "noexec", "atime", "noatime", "diratime",
		"nodiratime", "relatime", "norelatime", "strictatime",
		"nostrictatime", "sync", "async", "dirsync", "lazytime",
		"nolazytime"};

	for (size_t i = 0; i < VG_ARRAY_LEN(flag); i++) {
		if (!strcmp(arg, flag[i]))
			return true;
	}
	return false;
}

/* fuse_opt's callback: -1 refuses, 0 drops the argument, 1 keeps it. */
static int take_arg(void *ctx, const char *arg, int key, struct fuse_args *args)
{
	struct raw *raw = ctx;

	(void)args;
	switch (key) {
	case FUSE_OPT_KEY_NONOPT:
		if (raw->n_paths == 2) {
			refuse(raw->why, raw->cap,
				"'%s' is one argument too many: give DATADIR "
				"and MOUNTPOINT", arg);
			return -1;
		}
		raw->path[raw->n_paths] = strdup(arg);
		return raw->path[raw->n_paths++] ? 0 : -1;
	case KEY_DEBUG:
		raw->is_debug = 1;
		return 1;
	case KEY_ALLOW_OTHER:
		raw->allow_other = 1;
		return 1;
	case KEY_FSNAME:
		raw->has_fsname = 1;
		return 1;
	case KEY_SUBTYPE:
		raw->has_subtype = 1;
		return 1;
	case KEY_UNUSED:
		return 0;
	default:
		if (is_mount_flag(arg) && fuse_opt_add_opt(&raw->flags, arg))
			return -1;
		return 1;
	}
}

/* Parses a whole number with an optional K, M or G behind it. */
static int parse_size(const char *text, uint64_t *out)
{
	char *end;
	unsigned shift = 0;
	unsigned long long n;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno)
		return -EINVAL;
	switch (*end) {
	case 'G': case 'g':
		shift += 10;
		/* fall through */
	case 'M': case 'm':
		shift += 10;
		/* fall through */
	case 'K': case 'k':
		shift += 10;
		end++;
	}
	if (*end || n > UINT64_MAX >> shift)
		return -EINVAL;
	*out = n << shift;
	return 0;
}

static int parse_durability(const struct raw *raw, struct options *o)
{
	static const char *const word[] = {"close", "fsync", "async"};

	if (!raw->durability)
		return 0;
	for (unsigned i = 0; i < VG_ARRAY_LEN(word); i++) {
		if (!strcmp(raw->durability, word[i])) {
			o->durability = (enum options_durability)i;
			return 0;
		}
	}
	return refuse(raw->why, raw->cap,
		"durability=%s is not known: use close, fsync or async",
		raw->durability);
}

static int parse_numbers(const struct raw *raw, struct options *o)
{
	uint64_t n;

	if (raw->spin) {
		if (parse_size(raw->spin, &n) || n > OPTIONS_SPIN_MAX)
			return refuse(raw->why, raw->cap,
				"spin=%s is not a number of microseconds from "
				"0 to %d", raw->spin, OPTIONS_SPIN_MAX);
		o->spin_us = (int)n;
	}
	if (raw->threads) {
		if (parse_size(raw->threads, &n) || n < 1 ||
			n > OPTIONS_THREADS_MAX)
			return refuse(raw->why, raw->cap,
				"threads=%s is not a number from 1 to %d",
				raw->threads, OPTIONS_THREADS_MAX);
		o->n_threads = (int)n;
	} else if (raw->is_single) {
		o->n_threads = 1;
	}
	if (raw->staging) {
		if (parse_size(raw->staging, &n) || n < OPTIONS_STAGING_MIN ||
			n > OPTIONS_STAGING_MAX)
			return refuse(raw->why, raw->cap,
				"staging=%s is not a size from 1M to 16G",
				raw->staging);
		o->staging_max = n;
	}
	return 0;
}

static int parse_checkpoints(const struct raw *raw, struct options *o)
{
	uint64_t n;

	if (raw->checkpoint) {
		if (parse_size(raw->checkpoint, &n) ||
			n < OPTIONS_CHECKPOINT_MIN ||
			n > OPTIONS_CHECKPOINT_MAX)
			return refuse(raw->why, raw->cap,
				"checkpoint=%s is not a size from 64K to 16G",
				raw->checkpoint);
		o->checkpoint = n;
	}
	if (raw->backup_grace) {
		if (parse_size(raw->backup_grace, &n) ||
			n > OPTIONS_GRACE_MAX)
			return refuse(raw->why, raw->cap,
				"backup_grace=%s is not a number of seconds "
				"from 0 to %d",
				raw->backup_grace, OPTIONS_GRACE_MAX);
		o->backup_grace_s = (int)n;
	}
	return 0;
}

/* Staged bytes are never swapped to the store's disk: leave memory for it. */
static uint64_t default_staging(void)
{
	return VG_MAX(VG_MIN(memory_limit() / 4, OPTIONS_STAGING_MOST),
		OPTIONS_STAGING_MIN);
}

/*
 * The absolute path of a directory that may be missing or a dead mount: its
 * parent is resolved then, and its last name kept. NULL: errno says why.
 */
static char *resolve(const char *path)
{
	char *real = realpath(path, NULL), *copy, *cut, *joined = NULL;
	const char *name;
	size_t len;

	if (real || (errno != ENOENT && errno != ENOTCONN &&
			    errno != ECONNABORTED))
		return real;
	copy = strdup(path);
	if (!copy)
		return NULL;
	len = strlen(copy);
	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	cut = strrchr(copy, '/');
	name = cut ? cut + 1 : copy;
	if (!strcmp(name, "..") || !strcmp(name, ".") || !*name) {
		errno = ENOENT;
		goto free_copy;
	}
	if (cut == copy) {
		real = strdup("/");
	} else if (cut) {
		*cut = '\0';
		real = realpath(copy, NULL);
	} else {
		real = realpath(".", NULL);
	}
	if (real && asprintf(&joined, "%s/%s", strcmp(real, "/") ? real : "",
			    name) < 0)
		joined = NULL;
	free(real);
free_copy:
	free(copy);
	return joined;
}

/* --check takes the data directory alone. */
static int parse_checked(const struct raw *raw, struct options *o)
{
	if (raw->n_paths != 1)
		return refuse(raw->why, raw->cap,
			"give the data directory alone: vecgridfs --check "
			"DATADIR");
	o->data_dir = realpath(raw->path[0], NULL);
	if (!o->data_dir)
		return refuse(raw->why, raw->cap,
			"the data directory '%s' cannot be reached: %s",
			raw->path[0], strerror(errno));
	return 0;
}

static int parse_paths(const struct raw *raw, struct options *o)
{
	if (raw->n_paths < 2)
		return refuse(raw->why, raw->cap,
			"give the data directory and the mountpoint: "
			"vecgridfs DATADIR MOUNTPOINT");
	/* A remount names its source as the mount table has it: only shown. */
	o->data_dir = o->action == OPTIONS_REMOUNT ? strdup(raw->path[0]) :
						     resolve(raw->path[0]);
	if (!o->data_dir)
		return refuse(raw->why, raw->cap,
			"the data directory '%s' cannot be reached: %s",
			raw->path[0], strerror(errno));
	if (!strncmp(raw->path[1], "/dev/fd/", 8))
		o->mountpoint = strdup(raw->path[1]);
	else
		o->mountpoint = resolve(raw->path[1]);
	if (!o->mountpoint)
		return refuse(raw->why, raw->cap,
			"the mountpoint '%s' cannot be reached: %s",
			raw->path[1], strerror(errno));
	return 0;
}

/* Adds one option with every comma and backslash of its value escaped. */
static int add_option(struct fuse_args *args, const char *name,
	const char *value)
{
	char *opt = NULL, *list = NULL;
	int rc = -ENOMEM;

	if (asprintf(&opt, "%s%s", name, value) < 0)
		return -ENOMEM;
	if (!fuse_opt_add_opt_escaped(&list, opt) &&
		!fuse_opt_add_arg(args, "-o") && !fuse_opt_add_arg(args, list))
		rc = 0;
	free(list);
	free(opt);
	return rc;
}

/* What follows from the options without being said. */
static int add_implied(const struct raw *raw, const struct options *o)
{
	int rc = 0;

	if (raw->default_permissions || raw->allow_other)
		rc = add_option(o->fuse, "default_permissions", "");
	if (!rc && !raw->has_fsname)
		rc = add_option(o->fuse, "fsname=", o->data_dir);
	if (!rc && !raw->has_subtype)
		rc = add_option(o->fuse, "subtype=", "vecgridfs");
	return rc;
}

static void raw_fini(struct raw *raw)
{
	free(raw->path[0]);
	free(raw->path[1]);
	free(raw->durability);
	free(raw->checkpoint);
	free(raw->backup_grace);
	free(raw->spin);
	free(raw->staging);
	free(raw->threads);
	free(raw->flags);
}

static int from_raw(struct raw *raw, struct options *o)
{
	int rc;

	o->action = raw->has_help    ? OPTIONS_HELP :
		    raw->has_version ? OPTIONS_VERSION :
		    raw->has_check   ? OPTIONS_CHECK :
		    raw->is_remount  ? OPTIONS_REMOUNT :
				       OPTIONS_MOUNT;
	o->spin_us = OPTIONS_SPIN_AUTO;
	o->backup_grace_s = OPTIONS_GRACE_S;
	o->staging_max = default_staging();
	o->foreground = raw->is_foreground || raw->is_debug;
	o->debug = raw->is_debug;
	o->allow_other = raw->allow_other;
	o->norestart = raw->norestart;
	if (o->action == OPTIONS_HELP || o->action == OPTIONS_VERSION)
		return 0;
	o->is_recovery = raw->is_recovery;
	if (o->action == OPTIONS_CHECK)
		return parse_checked(raw, o);
	rc = parse_paths(raw, o);
	if (rc)
		return rc;
	if (o->action == OPTIONS_REMOUNT)
		return asprintf(&o->remount, "remount%s%s",
			       raw->flags ? "," : "",
			       raw->flags ? raw->flags : "") < 0 ?
			-ENOMEM :
			0;
	rc = parse_durability(raw, o);
	if (!rc)
		rc = parse_numbers(raw, o);
	if (!rc)
		rc = parse_checkpoints(raw, o);
	if (!rc)
		rc = add_implied(raw, o);
	return rc;
}

int options_parse(int argc, char **argv, char *why, size_t cap,
	struct options *out)
{
	struct fuse_args given = FUSE_ARGS_INIT(argc, argv);
	struct raw raw = {.why = why, .cap = cap};
	struct options o = {0};
	int rc = -ENOMEM;

	snprintf(why, cap, "out of memory");
	o.fuse = calloc(1, sizeof(*o.fuse));
	if (!o.fuse)
		return -ENOMEM;
	if (fuse_opt_parse(&given, &raw, raw_opts, take_arg) == 0) {
		*o.fuse = given;
		memset(&given, 0, sizeof(given));
		rc = from_raw(&raw, &o);
	} else if (strcmp(why, "out of memory") != 0) {
		rc = -EINVAL;
	}
	raw_fini(&raw);
	if (given.allocated)
		fuse_opt_free_args(&given);
	if (rc) {
		options_fini(&o);
		return rc;
	}
	*out = o;
	return 0;
}

void options_fini(struct options *o)
{
	free(o->data_dir);
	free(o->mountpoint);
	free(o->remount);
	if (o->fuse)
		fuse_opt_free_args(o->fuse);
	free(o->fuse);
	memset(o, 0, sizeof(*o));
}

int options_args(const struct options *o, struct fuse_args *out)
{
	struct fuse_args copy = FUSE_ARGS_INIT(0, NULL);

	for (int i = 0; i < o->fuse->argc; i++) {
		if (fuse_opt_add_arg(&copy, o->fuse->argv[i])) {
			fuse_opt_free_args(&copy);
			return -ENOMEM;
		}
	}
	*out = copy;
	return 0;
}

void options_usage(FILE *to)
{
	fputs("usage: vecgridfs DATADIR MOUNTPOINT [-o OPTION[,OPTION...]] "
	      "[-f] [-d]\n"
	      "       umount MOUNTPOINT\n"
	      "       vecgridfs --check DATADIR\n"
	      "\n"
	      "Mounts the vector store in DATADIR, which is created if it is "
	      "missing.\n"
	      "cat MOUNTPOINT/README tells what the mounted tree can do.\n"
	      "\n"
	      "  -f                    stay in the foreground\n"
	      "  -d                    print each request (implies -f)\n"
	      "  --check               look at everything in DATADIR, which "
	      "is not mounted, and\n"
	      "                        change nothing: a line for each "
	      "finding; exit 0: none,\n"
	      "                        1: there are, 2: it could not be "
	      "looked at\n"
	      "  -h, --help            this text\n"
	      "  -V, --version         the version\n"
	      "  -o durability=close   a change is on stable storage when "
	      "close() returns;\n"
	      "     durability=fsync   when fsync() returns;\n"
	      "     durability=async   within a second\n"
	      "  -o threads=N          threads that serve requests (default: "
	      "CPUs, 2 to 8)\n"
	      "  -o spin=US            microseconds a thread looks for the "
	      "next request\n"
	      "                        before it sleeps (default: 50 on virtual "
	      "machines, else 0)\n"
	      "  -o staging=SIZE       memory for files that are being written "
	      "(default:\n"
	      "                        a quarter of the memory, at most 4G)\n"
	      "  -o checkpoint=SIZE    bytes of the log between two "
	      "checkpoints (default 64M)\n"
	      "  -o backup_grace=S     seconds that files which are no longer "
	      "needed stay, for\n"
	      "                        copies of DATADIR under way (default "
	      "3600)\n"
	      "  -o recovery           mount what is intact in a damaged "
	      "DATADIR; nothing is\n"
	      "                        written to it, and nothing can be "
	      "changed\n"
	      "  -o norestart          a daemon that crashes ends the mount, and "
	      "is not started\n"
	      "                        again\n"
	      "  -o allow_other        every user may use the mount, within "
	      "its permissions\n"
	      "and every option of mount.fuse3(8).\n",
		to);
}
