/* SPDX-License-Identifier: Apache-2.0 */
/* memory.c: see memory.h. */
#include "src/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define PATH_LEN 4096
#define SURE_BYTES (1u << 20)

/* The number in a file, or UINT64_MAX: it is missing, or says "max". */
static uint64_t read_number(const char *path)
{
	FILE *f = fopen(path, "re");
	uint64_t n = UINT64_MAX;

	if (!f)
		return n;
	if (fscanf(f, "%" SCNu64, &n) != 1)
		n = UINT64_MAX;
	fclose(f);
	return n;
}

/* The least limit of a group and those above it. */
static uint64_t group_limit(const char *root, char *group, const char *name)
{
	uint64_t least = UINT64_MAX;
	char path[PATH_LEN + 100];

	for (;;) { /* ends: each turn cuts a part of the path off */
		char *slash;
		uint64_t n;

		snprintf(path, sizeof(path), "%s%s/%s", root, group, name);
		n = read_number(path);
		least = VG_MIN(least, n);
		slash = strrchr(group, '/');
		if (!slash)
			return least;
		*slash = '\0';
	}
}

/* The limit that a line of /proc/self/cgroup leads to. */
static uint64_t line_limit(char *line)
{
	char *controllers = strchr(line, ':');
	char *group = controllers ? strchr(controllers + 1, ':') : NULL;

	if (!group)
		return UINT64_MAX;
	*group++ = '\0';
	group[strcspn(group, "\n")] = '\0';
	if (strcmp(controllers, ":") == 0)
		return group_limit("/sys/fs/cgroup", group, "memory.max");
	if (strcmp(controllers, ":memory") == 0)
		return group_limit("/sys/fs/cgroup/memory", group,
			"memory.limit_in_bytes");
	return UINT64_MAX;
}

uint64_t memory_limit(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), len = sysconf(_SC_PAGESIZE);
	uint64_t limit = pages > 0 && len > 0
				 ? (uint64_t)pages * (uint64_t)len
				 : (uint64_t)1 << 30;
	FILE *f = fopen("/proc/self/cgroup", "re");
	char line[PATH_LEN];

	while (f && fgets(line, sizeof(line), f)) {
		uint64_t n = line_limit(line);

		limit = VG_MIN(limit, n);
	}
	if (f)
		fclose(f);
	return limit;
}

bool memory_has_room(uint64_t bytes)
{
	/* Few collections are worth reading files for. */
	return bytes <= SURE_BYTES || bytes <= memory_limit() / 2;
}

uint64_t memory_fds(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 0;
	return limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
}
