/* SPDX-License-Identifier: Apache-2.0 */
/* crowd.c: many processes at once: readers beside writers, and writers alone. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "contrib/bench/rig.h"
#include "contrib/bench/vectors.h"

/*
 * Two scenes, each with processes of their own.
 *
 * READERS. One reader, eight, and eight beside two writers take turns. A reader
 * opens, reads and closes query/id=N; a writer creates records. Told are the
 * rates, how evenly the readers share, the longest wait for an answer, and how
 * much of the processors daemon and clients used and how much nobody did.
 *
 * WRITERS. Sixteen create ROWS records, and one that looks on samples how many
 * are not in the graph yet (.stats/indexing): with a sync for each close(), and
 * with durability=async, where the indexers are what they outrun.
 */
#define READERS 8
#define WRITERS 2
#define CROWD 16
#define TURNS 3
#define QUERIES 1000u
#define SAMPLE_US 2000

struct bench {
	struct rig rig;
	struct data base, queries;
};

/* Of one process, in memory that all share. */
struct worker {
	uint64_t n;	   /* done so far */
	double longest_us; /* that one took */
};

struct crowd {
	_Atomic int go, stop;
	_Atomic uint32_t serial; /* of records that writers create */
	struct worker worker[READERS + CROWD];
};

static struct crowd *crowd;

typedef void work_fn(struct bench *b, unsigned no, uint32_t limit);

/* ---- what a process does ---- */

static void note(struct worker *w, double start)
{
	double took = rig_now_us() - start;

	w->longest_us = VG_MAX(w->longest_us, took);
	w->n++;
}

static void be_reader(struct bench *b, unsigned no, uint32_t limit)
{
	struct worker *w = &crowd->worker[no];
	char path[700], buf[4096];

	(void)limit;
	for (uint32_t i = no; !crowd->stop; i += 7919) {
		double start = rig_now_us();
		int fd;

		snprintf(path, sizeof(path), "%s/v/query/id=%u", b->rig.mnt,
			i % b->base.n);
		fd = open(path, O_RDONLY);
		rig_must(fd >= 0);
		rig_must(read(fd, buf, sizeof(buf)) > 0);
		close(fd);
		note(w, start);
	}
}

static void be_writer(struct bench *b, unsigned no, uint32_t limit)
{
	struct worker *w = &crowd->worker[no];
	size_t len = b->base.dim * sizeof(float);
	char path[700];
	uint32_t i;

	while (!crowd->stop && (i = crowd->serial++) < limit) {
		double start = rig_now_us();
		int fd;

		snprintf(path, sizeof(path), "%s/v/w%u", b->rig.mnt, i);
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
		rig_must(fd >= 0);
		rig_must(write(fd,
				 b->base.vecs +
					 (size_t)(i % b->base.n) * b->base.dim,
				 len) == (ssize_t)len);
		rig_must(close(fd) == 0);
		note(w, start);
	}
}

static void start(struct bench *b, work_fn *work, unsigned first, unsigned n,
	uint32_t limit)
{
	fflush(stdout);
	for (unsigned i = first; i < first + n; i++) {
		pid_t pid = fork();

		rig_must(pid >= 0);
		if (pid > 0)
			continue;
		while (!crowd->go)
			usleep(100);
		work(b, i, limit);
		_exit(0);
	}
}

/* ---- what the machine did ---- */

struct clocks {
	double wall, daemon, clients, idle;
};

static double idle_us(void)
{
	unsigned long long user, nice, sys, idle = 0, io = 0;
	FILE *f = fopen("/proc/stat", "r");

	rig_must(f && fscanf(f, "cpu %llu %llu %llu %llu %llu", &user, &nice,
			      &sys, &idle, &io) == 5);
	fclose(f);
	return (double)(idle + io) * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

static double seconds_us(struct timeval t)
{
	return (double)t.tv_sec * 1e6 + (double)t.tv_usec;
}

/* clients: those that were waited for. */
static struct clocks clocks_now(const struct bench *b)
{
	struct rusage r;

	rig_must(getrusage(RUSAGE_CHILDREN, &r) == 0);
	return (struct clocks){.wall = rig_now_us(),
		.daemon = rig_cpu_us(b->rig.cpu),
		.clients = seconds_us(r.ru_utime) + seconds_us(r.ru_stime),
		.idle = idle_us()};
}

static struct clocks clocks_since(struct clocks from, struct clocks to)
{
	double wall = to.wall - from.wall;

	return (struct clocks){.wall = wall,
		.daemon = 100 * (to.daemon - from.daemon) / wall,
		.clients = 100 * (to.clients - from.clients) / wall,
		.idle = 100 * (to.idle - from.idle) / wall};
}

static void wait_for(unsigned n)
{
	int status;

	for (unsigned i = 0; i < n; i++)
		rig_must(wait(&status) > 0 && status == 0);
}

static struct clocks begin(struct bench *b)
{
	struct clocks from = clocks_now(b);

	crowd->go = 1;
	return from;
}

/* ---- readers ---- */

static void scene_readers(struct bench *b, unsigned readers, unsigned writers,
	double seconds)
{
	uint32_t serial = crowd->serial;
	double least = 1e300, most = 0, longest = 0, all = 0, puts = 0;
	struct clocks c;

	memset(crowd, 0, sizeof(*crowd));
	crowd->serial = serial;
	start(b, be_reader, 0, readers, 0);
	start(b, be_writer, READERS, writers, UINT32_MAX);
	c = begin(b);
	usleep((useconds_t)(seconds * 1e6));
	crowd->stop = 1;
	wait_for(readers + writers);
	c = clocks_since(c, clocks_now(b));
	for (unsigned i = 0; i < readers; i++) {
		const struct worker *w = &crowd->worker[i];
		double rate = (double)w->n * 1e6 / c.wall;

		least = VG_MIN(least, rate);
		most = VG_MAX(most, rate);
		longest = VG_MAX(longest, w->longest_us);
		all += rate;
	}
	for (unsigned i = 0; i < writers; i++)
		puts += (double)crowd->worker[READERS + i].n * 1e6 / c.wall;
	printf("%u readers, %u writers: %6.0f queries/s (a reader %.0f to "
	       "%.0f), %5.0f puts/s, longest %.1f ms; daemon %.0f %%, clients "
	       "%.0f %%, idle %.0f %%\n",
		readers, writers, all, least, most, puts, longest / 1000,
		c.daemon, c.clients, c.idle);
}

/* ---- writers ---- */

static uint32_t tail_of(const struct bench *b)
{
	char text[64];

	rig_get(&b->rig, "v/.stats/indexing", text, sizeof(text));
	return (uint32_t)strtoul(text, NULL, 10);
}

static unsigned n_alive(unsigned n)
{
	int status;

	while (n > 0 && waitpid(-1, &status, WNOHANG) > 0) {
		rig_must(status == 0);
		n--;
	}
	return n;
}

static void scene_writers(struct bench *b, uint32_t rows, const char *name)
{
	uint32_t tail = 0, last = 0;
	unsigned left = CROWD;
	double longest = 0;
	struct clocks c;

	memset(crowd, 0, sizeof(*crowd));
	start(b, be_writer, 0, CROWD, rows);
	c = begin(b);
	while ((left = n_alive(left)) > 0) {
		last = tail_of(b);
		tail = VG_MAX(tail, last);
		usleep(SAMPLE_US);
	}
	c = clocks_since(c, clocks_now(b));
	for (unsigned i = 0; i < CROWD; i++)
		longest = VG_MAX(longest, crowd->worker[i].longest_us);
	printf("%u writers of %u rows, %s: %.0f puts/s, longest %.1f ms; not "
	       "linked yet: at most %u, at the end %u; daemon %.0f %%, clients "
	       "%.0f %%, idle %.0f %%\n",
		CROWD, rows, name, rows * 1e6 / c.wall, longest / 1000, tail,
		last, c.daemon, c.clients, c.idle);
}

static void pace(struct bench *b, const char *dir, const char *options)
{
	char name[32];

	snprintf(name, sizeof(name), "pace-%s", options ? "async" : "close");
	rig_open(&b->rig, dir, name, options);
	rig_mkdir(&b->rig, "v", "hnsw", "l2");
	scene_writers(b, b->base.n, options ? options : "durability=close");
	rig_close(&b->rig);
}

/* crowd [DIR [ROWS [SECONDS]]] */
int main(int argc, char **argv)
{
	const char *dir = rig_scratch(argc > 1 ? argv[1] : ".");
	uint32_t rows = argc > 2 ? (uint32_t)atoi(argv[2]) : 100000;
	double seconds = argc > 3 ? atof(argv[3]) : 5;
	static struct bench b;

	vectors_load(&b.base, rows, &b.queries, QUERIES);
	crowd = mmap(NULL, sizeof(*crowd), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	rig_must(crowd != MAP_FAILED);
	printf("%u vectors of %u dimensions, hnsw, l2\n", b.base.n, b.base.dim);
	rig_open(&b.rig, dir, "readers", NULL);
	rig_mkdir(&b.rig, "v", "hnsw", "l2");
	rig_import(&b.rig, "v", b.base.vecs, b.base.n, b.base.dim);
	for (int turn = 0; turn < TURNS; turn++) {
		scene_readers(&b, 1, 0, seconds);
		scene_readers(&b, READERS, 0, seconds);
		scene_readers(&b, READERS, WRITERS, seconds);
	}
	rig_close(&b.rig);
	pace(&b, dir, NULL);
	pace(&b, dir, "durability=async");
	data_fini(&b.base);
	data_fini(&b.queries);
	return 0;
}
