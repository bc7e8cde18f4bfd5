/* SPDX-License-Identifier: Apache-2.0 */
/* log.c: acknowledged commits a second of the log, beside a bare write and sync. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "contrib/bench/rig.h"
#include "src/wal.h"

/*
 * One commit is a record of 384 dimensions: 1,536 bytes and its op. The sides
 * take turns, one sync each, so that what else the disk does meets all alike;
 * each writes to a file of its own in the directory that is given (or here).
 * Medians. "group" is what 16 closers at once get: their changes in one sync.
 */
#define PAYLOAD 1656
#define GROUP 16
#define ROUNDS 2000

enum side { BARE, PLAIN, URING, BARE_GROUP, PLAIN_GROUP, URING_GROUP, SIDES };
static const struct {
	const char *name;
	unsigned commits; /* of one sync */
} sides[SIDES] = {
	[BARE] = {"bare write + fdatasync", 1},
	[PLAIN] = {"log, plain calls", 1},
	[URING] = {"log, io_uring", 1},
	[BARE_GROUP] = {"bare, 16 at once", GROUP},
	[PLAIN_GROUP] = {"log, plain calls, group of 16", GROUP},
	[URING_GROUP] = {"log, io_uring, group of 16", GROUP},
};

static char bytes[(PAYLOAD + 32) * GROUP];
static double times[SIDES][ROUNDS];

static void must(bool holds, const char *what)
{
	if (!holds) {
		perror(what);
		exit(1);
	}
}

static int ignore(void *ctx, const struct wal_frame *frame)
{
	(void)ctx;
	(void)frame;
	return 0;
}

static struct wal *log_open(int dir, const char *name, bool plain)
{
	struct wal_config cfg = {.no_uring = plain, .segment_size = 1 << 30};
	struct wal_report rep;
	struct wal *wal = NULL;

	must(mkdirat(dir, name, 0700) == 0, name);
	cfg.dirfd = openat(dir, name, O_RDONLY | O_DIRECTORY);
	must(cfg.dirfd >= 0, name);
	must(wal_open(&cfg, ignore, NULL, &rep, &wal) == 0, "wal_open");
	if (!plain && !rep.uring)
		puts("io_uring is not to be had here: plain calls instead");
	return wal;
}

/* A file with its space taken ahead, as the log's. */
static int bare_open(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL, 0600);

	must(fd >= 0, name);
	fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)sizeof(bytes) * ROUNDS);
	must(fsync(fd) == 0, "fsync");
	return fd;
}

static void bare_commit(int fd, unsigned n, int round)
{
	size_t len = n * (PAYLOAD + 32);

	must(pwrite(fd, bytes, len, (off_t)len * round) == (ssize_t)len &&
			fdatasync(fd) == 0,
		"write");
}

static void log_commit(struct wal *wal, unsigned n)
{
	struct wal_part part = {bytes, PAYLOAD};

	for (unsigned i = 0; i < n; i++)
		must(wal_append(wal, WAL_OP, &part, 1, false) == 0, "append");
	must(wal_write(wal, true) == 0, "wal_write");
}

static void print_figures(void)
{
	double rate[SIDES];

	printf("%-32s %8s %8s %8s  %12s %6s\n", "", "p10 us", "p50 us",
		"p90 us", "commits/s", "ratio");
	for (int s = 0; s < SIDES; s++) {
		double *t = times[s], p50 = rig_quantile(t, ROUNDS, .5);

		rate[s] = sides[s].commits * 1e6 / p50;
		printf("%-32s %8.0f %8.0f %8.0f  %12.0f %6.2f\n", sides[s].name,
			rig_quantile(t, ROUNDS, .1), p50,
			rig_quantile(t, ROUNDS, .9), rate[s],
			rate[s] / rate[s < BARE_GROUP ? BARE : BARE_GROUP]);
	}
	printf("a group of 16 against one waiter: plain %.1f, io_uring %.1f\n",
		rate[PLAIN_GROUP] / rate[PLAIN],
		rate[URING_GROUP] / rate[URING]);
}

int main(int argc, char **argv)
{
	char dir_name[300], cmd[320];
	struct wal *logs[SIDES] = {NULL};
	int bare[SIDES] = {0};

	snprintf(dir_name, sizeof(dir_name), "%.200s/vglog.XXXXXX",
		argc > 1 ? argv[1] : ".");
	must(mkdtemp(dir_name), dir_name);
	int dir = open(dir_name, O_RDONLY | O_DIRECTORY);

	must(dir >= 0, dir_name);
	memset(bytes, 0x3e, sizeof(bytes));
	bare[BARE] = bare_open(dir, "bare");
	bare[BARE_GROUP] = bare_open(dir, "bare16");
	logs[PLAIN] = log_open(dir, "plain", true);
	logs[URING] = log_open(dir, "uring", false);
	logs[PLAIN_GROUP] = log_open(dir, "plain16", true);
	logs[URING_GROUP] = log_open(dir, "uring16", false);
	for (int r = -50; r < ROUNDS; r++) /* the first ones warm up */
		for (int s = 0; s < SIDES; s++) {
			double start = rig_now_us();

			if (logs[s])
				log_commit(logs[s], sides[s].commits);
			else
				bare_commit(bare[s], sides[s].commits,
					r < 0 ? 0 : r);
			if (r >= 0)
				times[s][r] = rig_now_us() - start;
		}
	print_figures();
	for (int s = 0; s < SIDES; s++)
		wal_close(logs[s]);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir_name);
	return system(cmd) != 0;
}
