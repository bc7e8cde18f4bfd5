/* SPDX-License-Identifier: Apache-2.0 */
/* inflight: a request is remembered until it is answered. */
#include "fs/inflight.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fs/kept.h"
#include "tests/tap.h"

static struct arena *arena;
static struct inflight *fl;
static int arena_fd;

static void reopen(void)
{
	inflight_close(fl);
	arena_close(arena);
	must(arena_open(arena_fd, &arena) == 0);
	must(inflight_open(arena, &fl) == 0);
}

static uint32_t n_files(void)
{
	struct arena_stat st;

	arena_stat(arena, &st);
	return st.n_files;
}

/* A request lands in a slot, as read(2) leaves it. */
static void receive(unsigned slot, uint64_t unique, uint32_t opcode)
{
	char *mem = inflight_slot(fl, slot);
	struct fuse_in_header head = {.len = sizeof(head) + 6,
		.opcode = opcode,
		.unique = unique};

	must(mem);
	memcpy(mem, &head, sizeof(head));
	memcpy(mem + sizeof(head), "bytes", 6);
}

static bool is_free(unsigned slot)
{
	const struct fuse_in_header *head;
	void *mem;

	must(arena_get_region(arena, ARENA_LARGE, slot, &mem) == 0);
	head = mem;
	return head->unique == 0;
}

static void test_answers(void)
{
	receive(0, 2, FUSE_READ);
	inflight_begin(fl, 0);
	inflight_answered(fl, 2);
	inflight_end(fl, 0);
	ok(n_files() == 0 && is_free(0),
		"what is answered while it is served leaves nothing");
	receive(0, 4, FUSE_FLUSH);
	inflight_begin(fl, 0);
	inflight_end(fl, 0);
	ok(n_files() == 1 && is_free(0), "what is not is parked");
	inflight_answered(fl, 6);
	ok(n_files() == 1, "until it is answered");
	inflight_answered(fl, 4);
	ok(n_files() == 0, "and no longer");
	receive(0, 8, FUSE_FORGET);
	inflight_begin(fl, 0);
	inflight_end(fl, 0);
	receive(0, 11, FUSE_INTERRUPT);
	inflight_begin(fl, 0);
	inflight_end(fl, 0);
	ok(n_files() == 0, "what awaits no answer is not");
}

static void *answer_20(void *arg)
{
	(void)arg;
	inflight_answered(fl, 20);
	return NULL;
}

static void test_other_thread(void)
{
	pthread_t thread;

	receive(1, 20, FUSE_FLUSH);
	inflight_begin(fl, 1);
	must(pthread_create(&thread, NULL, answer_20, NULL) == 0);
	pthread_join(thread, NULL);
	inflight_end(fl, 1);
	ok(n_files() == 0 && is_free(1),
		"another thread's answer before the end counts");
}

static void test_init(void)
{
	static const char big[8000];
	size_t len;

	ok(!inflight_get_init(fl, &len), "at first there is no INIT");
	ok(inflight_put_init(fl, big, sizeof(big)) == -EINVAL &&
			inflight_put_init(fl, big, 0) == -EINVAL,
		"one that is too long, or nothing, is refused");
	must(inflight_put_init(fl, "init", 5) == 0);
	reopen();
	ok(inflight_get_init(fl, &len) && len == 5 &&
			!strcmp(inflight_get_init(fl, &len), "init"),
		"INIT is there for the next daemon");
}

/* What takes every answer, as a kernel that waits for all of them. */
static int kernel[2];

static uint64_t taken(int32_t *error)
{
	struct fuse_out_header out = {0};

	if (recv(kernel[1], &out, sizeof(out), MSG_DONTWAIT) < 0)
		return 0;
	*error = out.error;
	return out.unique;
}

static void test_recovery(void)
{
	struct fuse_in_header head;
	int32_t error;
	void *bytes;
	size_t len;

	receive(0, 40, FUSE_RENAME); /* read, and not yet begun */
	receive(1, 31, FUSE_INTERRUPT);
	receive(2, 30, FUSE_FLUSH);
	inflight_begin(fl, 2);
	inflight_end(fl, 2); /* parked */
	reopen();
	ok(inflight_recover(fl, kernel[0]) == 2, "both are found");
	ok(taken(&error) == 41 && error == -EAGAIN && taken(&error) == 31,
		"after the kernel was asked for them");
	ok(inflight_is_pending(fl, 30) && inflight_is_pending(fl, 40) &&
			!inflight_is_pending(fl, 20),
		"by their numbers");
	ok(is_free(0) && is_free(1) && n_files() == 2, "slots are free again");
	must(inflight_next(fl, &bytes, &len) == 0);
	memcpy(&head, bytes, sizeof(head));
	ok(head.unique == 30 && len == sizeof(head) + 6 &&
			!strcmp((char *)bytes + sizeof(head), "bytes"),
		"the first one comes first, with all its bytes");
	free(bytes);
	inflight_wait(fl, 30, 1);
	inflight_answered(fl, 30);
	inflight_wait(fl, 30, 100000);
	ok(n_files() == 1, "it is waited for no longer than it waits");
	must(inflight_next(fl, &bytes, &len) == 0);
	free(bytes);
	ok(inflight_next(fl, &bytes, &len) == -ENOENT, "there are no more");
	reopen();
	ok(inflight_recover(fl, kernel[0]) == 0 && n_files() == 0,
		"what was begun twice is not begun again");
	ok(taken(&error) == 41 && taken(&error) == 40 && error == -EIO,
		"it is answered with an input/output error");
}

/* A kernel that knows of no request: writing to it fails with ENOENT. */
static void test_answered_before(void)
{
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	must(fd >= 0);
	receive(0, 50, FUSE_READ);
	receive(2, 52, FUSE_FLUSH);
	inflight_begin(fl, 2);
	inflight_end(fl, 2);
	reopen();
	ok(inflight_recover(fl, fd) == 0 && n_files() == 0,
		"what the kernel waits for no more is forgotten");
	close(fd);
}

int main(void)
{
	plan(19);
	arena_fd = arena_create(16u << 20);
	must(arena_fd >= 0);
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, kernel) == 0);
	reopen();
	test_answers();
	test_other_thread();
	test_init();
	test_recovery();
	test_answered_before();
	inflight_close(fl);
	arena_close(arena);
	close(arena_fd);
	return done();
}
