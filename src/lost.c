/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lost.c: see lost.h.
 *
 * ORDER. The handler marks a page before its NaN are there: who read NaN and
 * then asks finds the mark. Both sides need the order of their two steps
 * kept: the handler's by the system call between them, the reader's by a fence.
 *
 * NaN come from a file in memory, so that they are there at once, whoever else
 * reads. It has several pages: lost pages that are neighbours are neighbours
 * there, too, and one map for the kernel, whose number of maps has a limit.
 *
 * The list and the count of handlers are the process's, as the signal is.
 */
#include "src/lost.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "src/vg.h"

#define PAGE 4096u
#define NAN_PAGES 64u

struct lost {
	char *begin;
	size_t len;
	_Atomic uint32_t *n;
	_Atomic(struct lost *) next;
	struct lost *before;	 /* lock; NULL: it is the first */
	_Atomic uint64_t page[]; /* bits */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(struct lost *) first;
/* Sequentially consistent, as `first` and `next` are: a handler that is not
 * counted yet when a range was taken out does not find it any more. */
static _Atomic int n_inside;
static struct sigaction former;
static int nan_fd = -1; /* lock, to be made; SIGBUS is ours when it is */

static void mark(struct lost *lost, size_t page)
{
	uint64_t bit = (uint64_t)1 << (page % 64);

	/* Two threads may touch one page: it counts once. */
	if (!(atomic_fetch_or(&lost->page[page / 64], bit) & bit))
		atomic_fetch_add(lost->n, 1);
}

/* Whether there are NaN now at `at`. */
static bool give_nan(char *at)
{
	for (struct lost *l = atomic_load(&first); l;
		l = atomic_load(&l->next)) {
		size_t page;

		if (at < l->begin || at >= l->begin + l->len)
			continue;
		page = (size_t)(at - l->begin) / PAGE;
		mark(l, page);
		/* Not mmap(): a sanitizer's takes it for a write. */
		return syscall(SYS_mmap, l->begin + page * PAGE, PAGE,
			       PROT_READ, MAP_SHARED | MAP_FIXED, nan_fd,
			       page % NAN_PAGES * PAGE) != -1;
	}
	return false;
}

static void handle(int sig, siginfo_t *info, void *context)
{
	int error = errno;
	bool is_ours = false;

	(void)context;
	atomic_fetch_add(&n_inside, 1);
	if (info->si_code == BUS_ADRERR)
		is_ours = give_nan(info->si_addr);
	atomic_fetch_sub(&n_inside, 1);
	if (!is_ours)
		sigaction(sig, &former, NULL);
	errno = error;
}

static int make_nan(void)
{
	int fd = memfd_create("vecgridfs-lost", MFD_CLOEXEC), rc = 0;
	uint8_t page[PAGE];

	if (fd < 0)
		return -errno;
	memset(page, 0xff, sizeof(page));
	for (unsigned i = 0; i < NAN_PAGES && rc == 0; i++)
		if (write(fd, page, sizeof(page)) != sizeof(page))
			rc = -ENOMEM;
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

static int take_signal_locked(void)
{
	struct sigaction sa = {.sa_sigaction = handle,
		.sa_flags = SA_SIGINFO | SA_ONSTACK};
	int fd = nan_fd < 0 ? make_nan() : nan_fd;

	if (fd == nan_fd || fd < 0)
		return VG_MIN(fd, 0);
	nan_fd = fd;
	sigemptyset(&sa.sa_mask);
	return sigaction(SIGBUS, &sa, &former) < 0 ? -errno : 0;
}

int lost_new(void *begin, size_t len, _Atomic uint32_t *n, struct lost **out)
{
	size_t words = len / PAGE / 64 + 1;
	struct lost *lost = calloc(1, sizeof(*lost) + words * sizeof(uint64_t));
	struct lost *next;
	int rc;

	assert((uintptr_t)begin % PAGE == 0);
	assert(len > 0 && len % PAGE == 0);
	if (!lost)
		return -ENOMEM;
	lost->begin = begin;
	lost->len = len;
	lost->n = n;
	pthread_mutex_lock(&lock);
	rc = take_signal_locked();
	if (rc < 0) {
		pthread_mutex_unlock(&lock);
		free(lost);
		return rc;
	}
	next = atomic_load(&first);
	atomic_init(&lost->next, next);
	if (next)
		next->before = lost;
	atomic_store(&first, lost);
	pthread_mutex_unlock(&lock);
	*out = lost;
	return 0;
}

void lost_free(struct lost *lost)
{
	struct lost *next;

	if (!lost)
		return;
	pthread_mutex_lock(&lock);
	next = atomic_load(&lost->next);
	if (next)
		next->before = lost->before;
	assert(lost->before || atomic_load(&first) == lost);
	atomic_store(lost->before ? &lost->before->next : &first, next);
	pthread_mutex_unlock(&lock);
	while (atomic_load(&n_inside) > 0) /* ends: a handler does little */
		sched_yield();
	free(lost);
}

int lost_check(const struct lost *lost, const void *at, size_t len)
{
	size_t from = (size_t)((const char *)at - lost->begin);
	int rc = 0;

	assert(len > 0 && from < lost->len && len <= lost->len - from);
	lost_order();
	for (size_t page = from / PAGE; page <= (from + len - 1) / PAGE; page++)
		if (atomic_load(&lost->page[page / 64]) >> (page % 64) & 1)
			rc = -EIO;
	return rc;
}
