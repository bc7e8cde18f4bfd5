/* SPDX-License-Identifier: Apache-2.0 */
/* rig.c: see rig.h. */
#include "contrib/bench/rig.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define IMPORT_ROWS 256u /* of one write */

static char scratch_dir[400];

void rig_must_at(bool holds, const char *expr, const char *file, int line)
{
	if (holds)
		return;
	fprintf(stderr, "%s:%d: ", file, line);
	perror(expr);
	exit(1);
}

static void remove_scratch(void)
{
	char cmd[2 * sizeof(scratch_dir) + 80];

	/* Mounts first: what ends early may have left some. */
	snprintf(cmd, sizeof(cmd),
		"umount -l '%s'/*.mnt 2>/dev/null; rm -rf '%s'", scratch_dir,
		scratch_dir);
	if (system(cmd) != 0)
		fprintf(stderr, "%s is left behind\n", scratch_dir);
}

const char *rig_scratch(const char *dir)
{
	char name[sizeof(scratch_dir)];

	snprintf(name, sizeof(name), "%.300s/vgbench.XXXXXX", dir);
	rig_must(mkdtemp(name));
	rig_must(realpath(name, scratch_dir));
	atexit(remove_scratch);
	return scratch_dir;
}

/* The program: it was built beside the bench. */
static void find_program(char *out, size_t cap)
{
	ssize_t len = readlink("/proc/self/exe", out, cap - 16);

	rig_must(len > 0);
	out[len] = '\0';
	for (int up = 0; up < 3; up++)
		*strrchr(out, '/') = '\0';
	strcat(out, "/vecgridfs");
}

static dev_t dev_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_dev : 0;
}

static pid_t child_of(pid_t pid)
{
	char path[64];
	int child = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	f = fopen(path, "r");
	rig_must(f && fscanf(f, "%d", &child) == 1);
	fclose(f);
	return child;
}

static void mount_tree(struct rig *r, const char *options)
{
	char program[600], *argv[7] = {program, r->data, r->mnt, "-f"};
	dev_t before = dev_of(r->mnt);

	find_program(program, sizeof(program));
	if (options) {
		argv[4] = "-o";
		argv[5] = strdup(options);
	}
	fflush(NULL);
	r->holder = fork();
	rig_must(r->holder >= 0);
	if (r->holder == 0) {
		execv(program, argv);
		perror(program);
		_exit(1);
	}
	while (dev_of(r->mnt) == before) {
		rig_must(waitpid(r->holder, NULL, WNOHANG) == 0);
		usleep(500);
	}
	r->daemon = child_of(r->holder);
	r->cpu = rig_clock_of(r->daemon);
	free(argv[5]);
}

void rig_open(struct rig *r, const char *dir, const char *name,
	const char *options)
{
	snprintf(r->data, sizeof(r->data), "%s/%s.data", dir, name);
	snprintf(r->mnt, sizeof(r->mnt), "%s/%s.mnt", dir, name);
	rig_must(mkdir(r->mnt, 0755) == 0);
	mount_tree(r, options);
}

void rig_close(struct rig *r)
{
	kill(r->holder, SIGTERM);
	waitpid(r->holder, NULL, 0);
	r->holder = 0;
}

void rig_remount(struct rig *r)
{
	rig_close(r);
	mount_tree(r, NULL);
}

void rig_mount(struct rig *r, const char *options)
{
	mount_tree(r, options);
}

void rig_unmount(struct rig *r)
{
	char cmd[600];

	snprintf(cmd, sizeof(cmd), "umount -l '%s'", r->mnt);
	rig_must(system(cmd) == 0);
}

void rig_get(const struct rig *r, const char *path, char *out, size_t cap)
{
	char full[1024];
	ssize_t len;
	int fd;

	snprintf(full, sizeof(full), "%s/%s", r->mnt, path);
	fd = open(full, O_RDONLY);
	rig_must(fd >= 0);
	len = read(fd, out, cap - 1);
	rig_must(len >= 0);
	close(fd);
	out[len] = '\0';
	out[strcspn(out, "\n")] = '\0';
}

void rig_put(const struct rig *r, const char *path, const char *text)
{
	char full[1024];
	int fd;

	snprintf(full, sizeof(full), "%s/%s", r->mnt, path);
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	rig_must(fd >= 0);
	rig_must(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	rig_must(close(fd) == 0);
}

void rig_mkdir(const struct rig *r, const char *coll, const char *index,
	const char *metric)
{
	char path[1024];

	snprintf(path, sizeof(path), "%s/%s", r->mnt, coll);
	rig_must(mkdir(path, 0777) == 0);
	snprintf(path, sizeof(path), "%s/.config/index", coll);
	rig_put(r, path, index);
	snprintf(path, sizeof(path), "%s/.config/metric", coll);
	rig_put(r, path, metric);
}

void rig_import(const struct rig *r, const char *coll, const float *vecs,
	uint32_t n, uint32_t dim)
{
	size_t row = sizeof(int32_t) + dim * sizeof(float);
	char *buf = malloc(IMPORT_ROWS * row), text[64] = "1";
	char path[1024];
	int fd;

	snprintf(path, sizeof(path), "%s/%s/.import/fvecs", r->mnt, coll);
	fd = open(path, O_WRONLY);
	rig_must(buf && fd >= 0);
	for (uint32_t from = 0; from < n; from += IMPORT_ROWS) {
		uint32_t rows = VG_MIN(IMPORT_ROWS, n - from);

		for (uint32_t i = 0; i < rows; i++) {
			memcpy(buf + i * row, &dim, sizeof(dim));
			memcpy(buf + i * row + sizeof(dim),
				vecs + (size_t)(from + i) * dim,
				dim * sizeof(float));
		}
		rig_must(write(fd, buf, rows * row) == (ssize_t)(rows * row));
	}
	rig_must(close(fd) == 0);
	free(buf);
	snprintf(path, sizeof(path), "%s/.stats/indexing", coll);
	for (; strcmp(text, "0") != 0; usleep(20000))
		rig_get(r, path, text, sizeof(text));
}

long rig_rss_kb(const struct rig *r)
{
	char path[64], line[256];
	long kb = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", r->daemon);
	f = fopen(path, "r");
	rig_must(f);
	while (fgets(line, sizeof(line), f) && !kb)
		if (sscanf(line, "VmRSS: %ld", &kb) != 1)
			kb = 0;
	fclose(f);
	return kb;
}

void rig_pin(pid_t pid, int cpu)
{
	char path[64];
	struct dirent *e;
	cpu_set_t set;
	DIR *d;

	CPU_ZERO(&set);
	for (size_t i = 0; i < CPU_SETSIZE; i++)
		if (cpu < 0 || i == (size_t)cpu)
			CPU_SET(i, &set);
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	rig_must(d);
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			sched_setaffinity(atoi(e->d_name), sizeof(set), &set);
	closedir(d);
}

double rig_cpu_us(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

double rig_now_us(void)
{
	return rig_cpu_us(CLOCK_MONOTONIC);
}

clockid_t rig_clock_of(pid_t pid)
{
	clockid_t clock;

	rig_must(clock_getcpuclockid(pid, &clock) == 0);
	return clock;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double rig_quantile(double *v, size_t n, double part)
{
	if (n == 0)
		return 0;
	qsort(v, n, sizeof(*v), by_value);
	return v[VG_MIN((size_t)((double)n * part), n - 1)];
}
