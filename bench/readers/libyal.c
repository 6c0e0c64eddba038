/* A chain read by libvhdi or libqcow, whose interfaces are the same but for the
 * prefix: compile with -include libvhdi.h -DLIB=libvhdi, or likewise libqcow.
 *
 * A read that begins in a cluster which a child lacks, libqcow serves from the
 * parent to its end, whatever the child has there. With -DLARGEST=65536, no read
 * goes past the end of a cluster. */

#include <stdlib.h>

#include "chain.h"

#define PASTED(prefix, name) prefix##_##name
#define EXPANDED(prefix, name) PASTED(prefix, name)
#define YAL(name) EXPANDED(LIB, name)

#ifndef LARGEST
#define LARGEST (1 << 30)
#endif

struct chain {
	int count;
	YAL(file_t) * files[]; /* leaf first */
};

static noreturn void fail_with(YAL(error_t) * error)
{
	char text[1000] = "unknown error";
	YAL(error_sprint)(error, text, sizeof text);
	fail(text);
}

static YAL(file_t) * open_file(const char *name)
{
	YAL(file_t) *file = NULL;
	YAL(error_t) *error = NULL;
	if (YAL(file_initialize)(&file, &error) != 1 ||
	    YAL(file_open)(file, name, YAL(get_access_flags_read)(), &error) != 1)
		fail_with(error);
	return file;
}

struct chain *chain_open(char **names, int count)
{
	struct chain *chain = malloc(sizeof *chain + count * sizeof chain->files[0]);
	if (chain == NULL)
		fail("no memory");
	chain->count = count;
	YAL(error_t) *error = NULL;
	for (int i = count - 1; i >= 0; i--) { /* a child gets a parent that has its own already */
		chain->files[i] = open_file(names[i]);
		if (i < count - 1 && YAL(file_set_parent_file)(chain->files[i], chain->files[i + 1], &error) != 1)
			fail_with(error);
	}
	return chain;
}

void chain_read(struct chain *chain, void *buffer, size_t size, int64_t offset)
{
	YAL(error_t) *error = NULL;
	for (size_t done = 0; done < size;) {
		size_t limit = LARGEST - (offset + done) % LARGEST;
		size_t wanted = size - done < limit ? size - done : limit;
		ssize_t n = YAL(file_read_buffer_at_offset)(chain->files[0], (char *)buffer + done, wanted,
		                                            offset + done, &error);
		if (n <= 0)
			fail_with(error);
		done += n;
	}
}

int64_t chain_size(struct chain *chain)
{
	size64_t size = 0;
	YAL(error_t) *error = NULL;
	if (YAL(file_get_media_size)(chain->files[0], &size, &error) != 1)
		fail_with(error);
	return size;
}

void chain_close(struct chain *chain)
{
	YAL(error_t) *error = NULL;
	for (int i = 0; i < chain->count; i++) {
		if (YAL(file_close)(chain->files[i], &error) != 0 || YAL(file_free)(&chain->files[i], &error) != 1)
			fail_with(error);
	}
	free(chain);
}
