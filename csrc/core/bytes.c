/* The read buffer of a stream: see bytes.h. */
#include "core/bytes.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SMALLEST = 512 };

char *tn_bytes_reserve(struct tn_bytes *bytes, size_t want) {
  struct tn_block *block = bytes->block;
  size_t capacity = block ? block->capacity : SMALLEST;
  if (block && capacity - block->start - bytes->length >= want) {
    return block->memory + block->start + bytes->length;
  }
  /* Moving is worth it only where it frees as much as it moves. */
  if (block && block->start >= bytes->length && capacity - bytes->length >= want) {
    memmove(block->memory, tn_bytes_data(bytes), bytes->length);
    block->start = 0;
    return block->memory + bytes->length;
  }
  if (want > SIZE_MAX / 4 - bytes->length) {
    return NULL;
  }
  while (capacity < bytes->length + want) {
    capacity *= 2;
  }
  struct tn_block *larger = malloc(sizeof *larger + capacity);
  if (!larger) {
    return NULL;
  }
  if (block) {
    memcpy(larger->memory, block->memory + block->start, bytes->length);
  }
  free(block);
  larger->capacity = capacity;
  larger->start = 0;
  bytes->block = larger;
  return larger->memory + bytes->length;
}

void tn_bytes_commit(struct tn_bytes *bytes, size_t count) {
  bytes->length += count;
}

bool tn_bytes_put_back(struct tn_bytes *bytes, const void *data, size_t length) {
  if (bytes->block && bytes->block->start >= length) {
    bytes->block->start -= length;
  } else if (tn_bytes_reserve(bytes, length)) {
    char *first = bytes->block->memory + bytes->block->start;
    memmove(first + length, first, bytes->length);
  } else {
    return false;
  }
  memcpy(bytes->block->memory + bytes->block->start, data, length);
  bytes->length += length;
  return true;
}

void tn_bytes_consume(struct tn_bytes *bytes, size_t count) {
  if (count == bytes->length) {
    tn_bytes_free(bytes);
  } else {
    bytes->block->start += count;
    bytes->length -= count;
  }
}

void tn_bytes_free(struct tn_bytes *bytes) {
  free(bytes->block);
  memset(bytes, 0, sizeof *bytes);
}

size_t tn_bytes_find(const char *bytes, size_t size, size_t *from, const char *delimiter,
                     size_t length) {
  char last = delimiter[length - 1];
  while (*from < size) {
    const char *hit = memchr(bytes + *from, last, size - *from);
    if (!hit) {
      *from = size;
      break;
    }
    *from = (size_t)(hit - bytes) + 1;
    if (length == 1 || (*from >= length && memcmp(hit + 1 - length, delimiter, length) == 0)) {
      return *from;
    }
  }
  return 0;
}
