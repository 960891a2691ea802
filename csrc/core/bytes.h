/* The bytes that a stream has read and not yet given out. Allocated when first needed, freed when
 * it runs dry. */
#ifndef TCPNET_BYTES_H
#define TCPNET_BYTES_H

#include <stdbool.h>
#include <stddef.h>

/* What only a buffer that holds something needs, in front of its memory. */
struct tn_block {
  size_t capacity;
  size_t start; /* of the bytes in memory */
  char memory[];
};

struct tn_bytes {
  struct tn_block *block; /* NULL: it is empty */
  size_t length;
};

/* Of one that is not empty. */
static inline const char *tn_bytes_data(const struct tn_bytes *bytes) {
  return bytes->block->memory + bytes->block->start;
}

/* Has all its memory been filled? */
static inline bool tn_bytes_is_full(const struct tn_bytes *bytes) {
  const struct tn_block *block = bytes->block;
  return block && block->start + bytes->length == block->capacity;
}

/* Room for `want` more behind the last byte; NULL without memory. */
char *tn_bytes_reserve(struct tn_bytes *bytes, size_t want);
/* So many of the reserved bytes hold data now. */
void tn_bytes_commit(struct tn_bytes *bytes, size_t count);
/* Before the first byte again; false without memory. */
bool tn_bytes_put_back(struct tn_bytes *bytes, const void *data, size_t length);
/* Gives out the first `count`. */
void tn_bytes_consume(struct tn_bytes *bytes, size_t count);
void tn_bytes_free(struct tn_bytes *bytes);
/* The length of the prefix of `size` bytes that ends with the delimiter, or 0. `from`: so many
 * bytes are known to hold no end of one; carried from call to call it makes the search of a long
 * line linear. */
size_t tn_bytes_find(const char *bytes, size_t size, size_t *from, const char *delimiter,
                     size_t length);

#endif
