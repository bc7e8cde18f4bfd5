/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clockstep.c: a library to be preloaded, under which the time of day jumps.
 *
 * The file that CLOCKSTEP names is two numbers: seconds to add to the time of
 * day, which whoever maps it sets as he likes, and how many syncs were called.
 * Clocks that nobody can set are left alone.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct step {
	_Atomic int64_t add_s, n_syncs;
};

static struct step *step;

__attribute__((constructor)) static void load(void)
{
	const char *path = getenv("CLOCKSTEP");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *at;

	if (fd < 0)
		return;
	at = mmap(NULL, sizeof(*step), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		0);
	close(fd);
	if (at != MAP_FAILED)
		step = at;
}

static void *next(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

static int64_t added(void)
{
	return step ? atomic_load(&step->add_s) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *ts)
{
	static int (*below)(clockid_t, struct timespec *);
	int rc;

	if (!below)
		*(void **)&below = next("clock_gettime");
	rc = below(clock, ts);
	if (rc == 0 &&
		(clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		ts->tv_sec += added();
	return rc;
}

time_t time(time_t *out)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (out)
		*out = ts.tv_sec;
	return ts.tv_sec;
}

int gettimeofday(struct timeval *tv, void *zone)
{
	struct timespec ts;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &ts);
	*tv = (struct timeval){ts.tv_sec, ts.tv_nsec / 1000};
	return 0;
}

/* Syncs are to be seen here: without io_uring. */
int io_uring_queue_init(unsigned entries, void *ring, unsigned flags);
int io_uring_queue_init(unsigned entries, void *ring, unsigned flags)
{
	(void)entries;
	(void)ring;
	(void)flags;
	return -ENOSYS;
}

/* No errno of ours comes between: what is below sets it. */
int fdatasync(int fd)
{
	static int (*below)(int);

	if (!below)
		*(void **)&below = next("fdatasync");
	if (step)
		atomic_fetch_add(&step->n_syncs, 1);
	return below(fd);
}
