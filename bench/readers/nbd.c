/* The disk that an NBD server has behind a Unix socket. The server knows the
 * chain; the one name is the socket's. Requests wait for each other, as the
 * calls of the other readers do. */

#include <stdlib.h>

#include <libnbd.h>

#include "chain.h"

struct chain {
	struct nbd_handle *nbd;
};

struct chain *chain_open(char **names, int count)
{
	struct chain *chain = malloc(sizeof *chain);
	if (chain == NULL || count != 1)
		fail("one socket is needed");
	chain->nbd = nbd_create();
	if (chain->nbd == NULL || nbd_connect_unix(chain->nbd, names[0]) == -1)
		fail(nbd_get_error());
	return chain;
}

void chain_read(struct chain *chain, void *buffer, size_t size, int64_t offset)
{
	if (nbd_pread(chain->nbd, buffer, size, offset, 0) == -1)
		fail(nbd_get_error());
}

int64_t chain_size(struct chain *chain)
{
	int64_t size = nbd_get_size(chain->nbd);
	if (size == -1)
		fail(nbd_get_error());
	return size;
}

void chain_close(struct chain *chain)
{
	nbd_shutdown(chain->nbd, 0);
	nbd_close(chain->nbd);
	free(chain);
}
