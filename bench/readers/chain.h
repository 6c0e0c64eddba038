/* A disk that a library reads. reader.c measures it; libyal.c and nbd.c each
 * are such a disk. Whatever fails ends the program. */

#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>

struct chain;

/* The images of a chain, leaf first. */
struct chain *chain_open(char **names, int count);
void chain_read(struct chain *chain, void *buffer, size_t size, int64_t offset);
int64_t chain_size(struct chain *chain);
void chain_close(struct chain *chain);

noreturn void fail(const char *what);
