/* SPDX-License-Identifier: Apache-2.0 */
/* check_names.c: files of a data directory that nobody names. */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "src/check_int.h"
#include "src/collection_file_int.h"
#include "src/wal_int.h"

struct names {
	struct check *ck;
	const char *uuid; /* in c/uuid; NULL: elsewhere */
};

static bool is_known(const struct names *names, const char *name)
{
	assert(names->uuid);
	return manifest_names(names->ck->m, names->ck->n, names->uuid, name);
}

static int see_file(void *ctx, const char *name)
{
	struct names *names = ctx;

	if (!is_known(names, name))
		check_say(names->ck, false,
			"c/%s/%s: no manifest names it; what a checkpoint "
			"left is removed by the next mount",
			names->uuid, name);
	return 0;
}

static int see_dir(void *ctx, const char *name)
{
	struct names *names = ctx;
	struct io *io = names->ck->s->io;
	int fd;

	names->uuid = name;
	if (!is_known(names, NULL)) {
		check_say(names->ck, false,
			"c/%s: no manifest names it; what a checkpoint left "
			"is removed by the next mount",
			name);
		return 0;
	}
	fd = io->open(io, names->ck->s->checkpoint.coll_dirfd, name,
		O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return 0; /* its manifest's files said so */
	io->list(io, fd, see_file, names);
	io->close(io, fd);
	return 0;
}

static int see_root(void *ctx, const char *name)
{
	static const char *const ours[] = {"LOCK", "FORMAT", "IDENTITY", "wal",
		"c", ".backup-hold", "lost+found"};
	static const char *const unfinished[] = {"MANIFEST.new", "FORMAT.new",
		"IDENTITY.new", "LOCK.new"};
	struct names *names = ctx;
	uint64_t number;

	if (manifest_is_name(name, &number))
		return 0;
	for (size_t i = 0; i < VG_ARRAY_LEN(ours); i++)
		if (strcmp(name, ours[i]) == 0)
			return 0;
	for (size_t i = 0; i < VG_ARRAY_LEN(unfinished); i++)
		if (strcmp(name, unfinished[i]) == 0) {
			check_say(names->ck, false,
				"%s was never finished: nobody reads it", name);
			return 0;
		}
	check_say(names->ck, false, "%s is no file of a data directory", name);
	return 0;
}

static int see_segment(void *ctx, const char *name)
{
	struct names *names = ctx;
	uint64_t number;

	if (!wal_name_parse(name, &number))
		check_say(names->ck, false, "wal/%s is no segment of the log",
			name);
	return 0;
}

void check_names(struct check *ck)
{
	struct names names = {.ck = ck};
	struct store *s = ck->s;
	int rc = s->io->list(s->io, s->dirfd, see_root, &names);

	if (rc == 0)
		rc = s->io->list(s->io, s->waldirfd, see_segment, &names);
	if (rc == 0 && s->checkpoint.coll_dirfd >= 0)
		rc = s->io->list(
			s->io, s->checkpoint.coll_dirfd, see_dir, &names);
	if (rc < 0)
		check_say(ck, true, "the names of the directory cannot be "
				    "read: %s",
			strerror(-rc));
}
