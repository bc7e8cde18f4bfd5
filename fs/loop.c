/* SPDX-License-Identifier: Apache-2.0 */
/* loop.c: see loop.h. */
#include "fs/loop.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/uio.h>
#include <unistd.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "fs/inflight.h"
#include "src/clock.h"

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <linux/fuse.h>

/* Codes that the kernel headers of Debian 12 do not name yet. */
#define NOTIFY_PRUNE 9		      /* kernel 6.18 */
#define UNIQUE_RESENT (1ull << 63)    /* kernel 6.9 */
#define PRUNE_BATCH 1024	      /* nodes of one notification */
#define THREADS_MAX 64
#define BUF_LEN ((1u << 20) + (64u << 10)) /* a write of 1 MiB, and heads */
#define REPEAT_WAIT_MS 100

/*
 * Two threads look for requests, spinning or asleep on the connection, beside
 * those that serve one. The rest are parked where no request wakes them: the
 * kernel wakes a sleeper for each request, also when a spinning thread is about
 * to take it, and a wake-up on another CPU is what we are here to avoid. Who
 * takes a request and leaves nobody looking, calls one of the parked.
 */
#define LOOKERS 2

struct loop {
	struct fuse_session *se;
	int fd;
	int stop_fd; /* an eventfd: readable from the end on, never read */
	struct inflight *inflight; /* or NULL */
	long spin_ns;
	_Atomic int error; /* the first failure; relaxed: read after join */
	_Atomic int n_looking; /* a count; who parks confirms it under lock */
	pthread_mutex_t lock;
	pthread_cond_t called;
	int n_parked; /* lock */
	int n_calls;  /* lock: of those parked, who may go on */
	bool is_over; /* lock */
};

struct worker {
	struct loop *loop;
	pthread_t thread;
	int epoll_fd;
	unsigned no;
	void *mem; /* BUF_LEN; owned if there is no loop->inflight */
};

static_assert(BUF_LEN <= INFLIGHT_LEN && THREADS_MAX <= ARENA_LARGE_MAX,
	"each worker has a slot that takes what it reads");

static _Thread_local struct loop_request serving;

struct loop_request loop_unique(void)
{
	return serving;
}

static void stop(struct loop *loop)
{
	uint64_t one = 1;

	fuse_session_exit(loop->se);
	if (write(loop->stop_fd, &one, sizeof(one)) < 0) {
		/* EAGAIN: it was readable already, which is all we want. */
		assert(errno == EAGAIN);
	}
	pthread_mutex_lock(&loop->lock);
	loop->is_over = true;
	pthread_cond_broadcast(&loop->called);
	pthread_mutex_unlock(&loop->lock);
}

/* A request was taken: somebody must look for the next one meanwhile. */
static void leave_looking(struct loop *loop)
{
	if (atomic_fetch_sub(&loop->n_looking, 1) > 1)
		return;
	pthread_mutex_lock(&loop->lock);
	if (loop->n_parked > loop->n_calls) {
		loop->n_calls++;
		atomic_fetch_add(&loop->n_looking, 1); /* for who is called */
		pthread_cond_signal(&loop->called);
	}
	pthread_mutex_unlock(&loop->lock);
}

/* Parks the caller if enough others look. Returns whether it was parked. */
static bool park(struct loop *loop)
{
	bool is_parked = false;

	if (atomic_load(&loop->n_looking) <= LOOKERS)
		return false;
	pthread_mutex_lock(&loop->lock);
	if (atomic_fetch_sub(&loop->n_looking, 1) <= LOOKERS) {
		atomic_fetch_add(&loop->n_looking, 1); /* they took requests */
		goto unlock;
	}
	is_parked = true;
	loop->n_parked++;
	while (!loop->n_calls && !loop->is_over)
		pthread_cond_wait(&loop->called, &loop->lock);
	loop->n_parked--;
	if (loop->n_calls)
		loop->n_calls--;
unlock:
	pthread_mutex_unlock(&loop->lock);
	return is_parked;
}

#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *at);
void __tsan_release(void *at);
static char kernel_order;

void loop_reply_leaves(void)
{
	__tsan_release(&kernel_order);
}

void loop_request_comes(void)
{
	__tsan_acquire(&kernel_order);
}
#else
void loop_reply_leaves(void)
{
}

void loop_request_comes(void)
{
}
#endif

/* Serves the request in buf; the handler may ask loop_unique who it is. */
static void serve(
	struct fuse_session *se, const struct fuse_buf *buf, bool resent)
{
	struct fuse_in_header head;

	if (buf->size >= sizeof(head)) {
		memcpy(&head, buf->mem, sizeof(head));
		serving.unique = head.unique & ~UNIQUE_RESENT;
		serving.opcode = head.opcode;
		serving.resent = resent || (head.unique & UNIQUE_RESENT) != 0;
	}
	fuse_session_process_buf(se, buf);
	serving = (struct loop_request){0};
}

/*
 * Sleeps until a request may be there or the session ends. Each thread has an
 * epoll of its own that holds the session with EPOLLEXCLUSIVE: poll() would
 * wake every sleeper for each request.
 */
static void sleep_until_work(struct worker *w)
{
	struct epoll_event ev;

	while (epoll_wait(w->epoll_fd, &ev, 1, -1) < 0 && errno == EINTR)
		;
}

/*
 * Reads a request to where it outlives us. Not libfuse's own way of receiving,
 * which has its own idea of the memory. Returns its length; 0: unmounted.
 */
static int receive(struct worker *w)
{
	ssize_t n;

	do {
		n = read(w->loop->fd, w->mem, BUF_LEN);
	} while (n < 0 && errno == ENOENT); /* its caller has gone away */
	/* Aborted, as umount -f does, or at times the last close after umount
	 * -l, is an end as any other. */
	if (n < 0)
		return errno == ENODEV || errno == ECONNABORTED ? 0 : -errno;
	return n < (ssize_t)sizeof(struct fuse_in_header) ? -EIO : (int)n;
}

static void serve_one(struct worker *w, int n)
{
	struct fuse_buf buf = {.size = (size_t)n, .mem = w->mem};
	struct inflight *fl = w->loop->inflight;

	if (fl)
		inflight_begin(fl, w->no);
	serve(w->loop->se, &buf, false);
	if (fl)
		inflight_end(fl, w->no);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct loop *loop = w->loop;
	long idle_since = clock_now_ns();

	while (!fuse_session_exited(loop->se)) {
		int n = receive(w);

		if (n > 0) {
			loop_request_comes();
			leave_looking(loop);
			serve_one(w, n);
			atomic_fetch_add(&loop->n_looking, 1);
			if (loop->spin_ns)
				idle_since = clock_now_ns();
		} else if (n == -EAGAIN) {
			if (loop->spin_ns &&
				clock_now_ns() - idle_since < loop->spin_ns) {
				sched_yield();
				continue;
			}
			if (!park(loop))
				sleep_until_work(w);
			if (loop->spin_ns)
				idle_since = clock_now_ns();
		} else if (n != -EINTR) {
			/* 0: unmounted, or somebody else ended the session. */
			if (n < 0)
				atomic_store_explicit(&loop->error, n,
					memory_order_relaxed);
			break;
		}
	}
	stop(loop);
	return NULL;
}

static bool on_hypervisor(void)
{
#ifdef __x86_64__
	unsigned a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & 1u << 31);
#else
	return access("/sys/hypervisor/type", F_OK) == 0;
#endif
}

static int default_threads(void)
{
	cpu_set_t cpus;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
		return 2;
	return VG_MAX(VG_MIN(CPU_COUNT(&cpus), 8), 2);
}

static void end_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
}

void loop_block_signals(void)
{
	sigset_t set;

	end_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static int worker_init(struct worker *w, struct loop *loop, unsigned no)
{
	struct epoll_event work_ev = {.events = EPOLLIN | EPOLLEXCLUSIVE};
	struct epoll_event stop_ev = {.events = EPOLLIN};
	int rc;

	w->loop = loop;
	w->no = no;
	w->mem = loop->inflight ? inflight_slot(loop->inflight, no)
				: malloc(BUF_LEN);
	if (!w->mem)
		return -ENOMEM;
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (w->epoll_fd < 0) {
		rc = -errno;
		goto free_mem;
	}
	if (epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, loop->fd, &work_ev) < 0 ||
		epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, loop->stop_fd, &stop_ev) <
			0) {
		rc = -errno;
		goto close_epoll;
	}
	atomic_fetch_add(&loop->n_looking, 1);
	rc = -pthread_create(&w->thread, NULL, work, w);
	if (rc < 0) {
		atomic_fetch_sub(&loop->n_looking, 1);
		goto close_epoll;
	}
	return 0;
close_epoll:
	close(w->epoll_fd);
free_mem:
	if (!loop->inflight)
		free(w->mem);
	return rc;
}

static void worker_fini(struct worker *w)
{
	pthread_join(w->thread, NULL);
	close(w->epoll_fd);
	if (!w->loop->inflight)
		free(w->mem);
}

/* Waits for a signal to end by, or for a worker to have seen the end. */
static void wait_for_end(struct loop *loop, int signal_fd)
{
	struct pollfd p[2] = {
		{.fd = signal_fd, .events = POLLIN},
		{.fd = loop->stop_fd, .events = POLLIN},
	};

	while (poll(p, 2, -1) < 0 && errno == EINTR)
		;
	stop(loop);
}

int loop_run(struct fuse_session *se, const struct loop_config *cfg)
{
	struct loop loop = {
		.se = se,
		.fd = fuse_session_fd(se),
		.inflight = cfg->inflight,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.called = PTHREAD_COND_INITIALIZER,
	};
	int n = cfg->n_threads > 0 ? cfg->n_threads : default_threads();
	int spin_us = cfg->spin_us >= 0 ? cfg->spin_us :
		      on_hypervisor()	? 50 :
					  0;
	struct worker worker[THREADS_MAX];
	int signal_fd, rc = 0, made = 0;
	sigset_t set;

	n = VG_MIN(n, THREADS_MAX);
	loop.spin_ns = spin_us * 1000L;
	end_signals(&set);
	signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signal_fd < 0)
		return -errno;
	loop.stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop.stop_fd < 0) {
		rc = -errno;
		goto close_signal;
	}
	if (fcntl(loop.fd, F_SETFL, O_NONBLOCK) < 0) {
		rc = -errno;
		goto close_stop;
	}
	for (; made < n && !rc; made += !rc)
		rc = worker_init(&worker[made], &loop, (unsigned)made);
	if (rc)
		stop(&loop);
	else
		wait_for_end(&loop, signal_fd);
	for (int i = 0; i < made; i++)
		worker_fini(&worker[i]);
	if (!rc)
		rc = atomic_load_explicit(&loop.error, memory_order_relaxed);
close_stop:
	close(loop.stop_fd);
close_signal:
	close(signal_fd);
	return rc;
}

int loop_init(struct fuse_session *se, struct inflight *inflight)
{
	struct pollfd p = {.fd = fuse_session_fd(se), .events = POLLIN};
	struct fuse_in_header head = {0};
	struct fuse_buf buf = {0};
	int n;

	do {
		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			return -errno;
		n = fuse_session_receive_buf(se, &buf);
	} while (n == -EAGAIN || n == -EINTR);
	if (n > 0) {
		if (buf.size >= sizeof(head))
			memcpy(&head, buf.mem, sizeof(head));
		if (inflight && head.opcode == FUSE_INIT)
			inflight_put_init(inflight, buf.mem, buf.size);
		fuse_session_process_buf(se, &buf);
		n = head.opcode == FUSE_INIT && !fuse_session_exited(se) ?
			0 :
			-EPROTO;
	} else if (n == 0) {
		n = -ENOTCONN;
	}
	free(buf.mem);
	return n;
}

int loop_init_again(struct fuse_session *se, struct inflight *inflight,
	_Atomic uint64_t *unique)
{
	struct fuse_buf buf = {0};
	struct fuse_in_header head;
	const void *kept = inflight_get_init(inflight, &buf.size);

	if (!kept || buf.size < sizeof(head))
		return -EPROTO;
	/* A copy: libfuse may look at as much as it had room for. */
	buf.mem = calloc(1, BUF_LEN);
	if (!buf.mem)
		return -ENOMEM;
	memcpy(buf.mem, kept, buf.size);
	memcpy(&head, kept, sizeof(head));
	atomic_store(unique, head.unique);
	fuse_session_process_buf(se, &buf);
	free(buf.mem);
	return fuse_session_exited(se) ? -EPROTO : 0;
}

int loop_repeat(struct fuse_session *se, struct inflight *inflight)
{
	struct fuse_in_header head;
	struct fuse_buf buf = {0};
	int n = 0, rc;

	while ((rc = inflight_next(inflight, &buf.mem, &buf.size)) == 0) {
		memcpy(&head, buf.mem, sizeof(head));
		serve(se, &buf, true);
		inflight_wait(inflight, head.unique & ~UNIQUE_RESENT,
			REPEAT_WAIT_MS);
		free(buf.mem);
		n++;
	}
	return rc == -ENOENT ? n : rc;
}

/* The record of FUSE_NOTIFY_PRUNE; node numbers follow it. */
struct prune_head {
	struct fuse_out_header out;
	uint32_t count;
	uint32_t padding;
	uint64_t spare;
};

static_assert(sizeof(struct prune_head) == 32, "as the kernel reads it");

static int prune_batch(int fd, const uint64_t *nodeid, size_t n)
{
	struct prune_head head = {
		.out.error = NOTIFY_PRUNE,
		.count = (uint32_t)n,
	};
	struct iovec iov[2] = {
		{.iov_base = &head, .iov_len = sizeof(head)},
		{.iov_base = (void *)(uintptr_t)nodeid,
			.iov_len = n * sizeof(*nodeid)},
	};

	assert(n > 0 && n <= PRUNE_BATCH);
	head.out.len = (uint32_t)(iov[0].iov_len + iov[1].iov_len);
	if (writev(fd, iov, 2) < 0)
		return errno == ENODEV ? -ENOTCONN : -errno;
	return 0;
}

int loop_prune(struct fuse_session *se, const uint64_t *nodeid, size_t n)
{
	int fd = fuse_session_fd(se), rc = 0;

	for (size_t done = 0; done < n && !rc; done += PRUNE_BATCH)
		rc = prune_batch(fd, nodeid + done,
			VG_MIN(n - done, PRUNE_BATCH));
	return rc;
}
