/* Reads a disk on request and tells how long it took.
 *
 *   reader copy IMAGE...           writes the disk to standard output
 *   reader serve PLACES IMAGE...   carries out the lines of standard input
 *
 * The lines, each answered with a line of nanoseconds:
 *
 *   whole              read the disk from its beginning to its end
 *   random FROM COUNT  read 4 KiB at each of COUNT places, from the FROMth on
 *   open               open all images and close them again
 *
 * PLACES is a file of offsets, as 64-bit numbers of this machine. */

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "chain.h"

enum { PIECE = 1 << 20, SMALL = 4096 };

static char buffer[PIECE];

noreturn void fail(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(1);
}

struct places {
	int64_t *offsets;
	size_t count;
};

static struct places load_places(const char *name)
{
	FILE *file = fopen(name, "rb");
	if (file == NULL || fseek(file, 0, SEEK_END) != 0)
		fail("no places");
	long size = ftell(file);
	struct places places = {malloc(size), size / sizeof(int64_t)};
	rewind(file);
	if (places.offsets == NULL || fread(places.offsets, sizeof(int64_t), places.count, file) != places.count)
		fail("no places");
	fclose(file);
	return places;
}

/* Hands each piece to standard output, if wanted. */
static void read_whole(struct chain *chain, bool print)
{
	int64_t end = chain_size(chain);
	for (int64_t offset = 0; offset < end; offset += PIECE) {
		size_t size = end - offset < PIECE ? end - offset : PIECE;
		chain_read(chain, buffer, size, offset);
		if (print && fwrite(buffer, 1, size, stdout) != size)
			fail("can't write");
	}
}

static void read_random(struct chain *chain, struct places places, size_t from, size_t count)
{
	if (from > places.count || count > places.count - from)
		fail("not so many places");
	for (size_t i = from; i < from + count; i++)
		chain_read(chain, buffer, SMALL, places.offsets[i]);
}

static int64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static void serve(struct places places, char **names, int count)
{
	struct chain *chain = chain_open(names, count);
	char line[100];
	size_t from, n;
	while (fgets(line, sizeof line, stdin) != NULL) {
		int64_t start = now();
		if (strcmp(line, "whole\n") == 0)
			read_whole(chain, false);
		else if (sscanf(line, "random %zu %zu", &from, &n) == 2)
			read_random(chain, places, from, n);
		else if (strcmp(line, "open\n") == 0)
			chain_close(chain_open(names, count));
		else
			fail("unknown request");
		printf("%" PRId64 "\n", now() - start);
		fflush(stdout);
	}
	chain_close(chain);
}

int main(int argc, char **argv)
{
	if (argc > 2 && strcmp(argv[1], "copy") == 0) {
		struct chain *chain = chain_open(argv + 2, argc - 2);
		read_whole(chain, true);
		chain_close(chain);
		return fflush(stdout) == 0 ? 0 : 1;
	}
	if (argc > 3 && strcmp(argv[1], "serve") == 0) {
		serve(load_places(argv[2]), argv + 3, argc - 3);
		return 0;
	}
	fail("usage: reader copy IMAGE... | reader serve PLACES IMAGE...");
}
