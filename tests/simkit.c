/* SPDX-License-Identifier: Apache-2.0 */
/* simkit.c: see simkit.h. */
#include "tests/simkit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"

struct sim *disk;
struct io *io;
int root;

void use(struct sim *sim)
{
	disk = sim;
	io = sim_get_io(sim);
	root = sim_root(sim);
}

void begin(const struct sim_config *cfg)
{
	sim_free(disk);
	use(sim_new(cfg));
}

int create(const char *name)
{
	int fd = io->open(io, root, name, O_RDWR | O_CREAT);

	must(fd >= 0);
	return fd;
}

void put(int fd, uint64_t offset, int byte, size_t len)
{
	char *bytes = malloc(len);

	must(bytes);
	memset(bytes, byte, len);
	must(io->write(io, fd, bytes, len, offset, false) == 0);
	free(bytes);
}

int safe_file(const char *name, int byte, size_t len)
{
	int fd = create(name);

	put(fd, 0, byte, len);
	must(io->sync(io, fd) == 0 && io->sync(io, root) == 0);
	return fd;
}

bool is_all(struct sim *sim, const char *path, uint64_t from, int byte,
	size_t len)
{
	size_t size;
	uint8_t *bytes = sim_load(sim, path, &size);
	bool is = bytes && size == from + len;

	for (size_t i = from; is && i < size; i++)
		is = bytes[i] == byte;
	free(bytes);
	return is;
}

bool is_there(struct sim *sim, const char *path)
{
	size_t len;
	void *bytes = sim_load(sim, path, &len);

	free(bytes);
	return bytes;
}

uint64_t size_of(struct sim *sim, const char *path)
{
	size_t len = 0;

	free(sim_load(sim, path, &len));
	return len;
}

struct sim_stat stat_of(struct sim *sim)
{
	struct sim_stat st;

	sim_stat(sim, &st);
	return st;
}

void count_units(struct sim *sim, const char *path, size_t len,
	const char byte[2], unsigned n[3])
{
	size_t size;
	char *bytes = sim_load(sim, path, &size);

	must(bytes && size % len == 0);
	for (size_t at = 0; at < size; at += len) {
		size_t a = 0, b = 0;

		for (size_t i = at; i < at + len; i++) {
			a += bytes[i] == byte[0];
			b += bytes[i] == byte[1];
		}
		n[a == len ? 0 : b == len ? 1 : 2]++;
	}
	free(bytes);
}
