/* The read buffer of a stream: see bytes.h. */
#include "core/bytes.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SMALLEST = 512 };

char *tn_bytes_reserve(struct tn_bytes *bytes, size_t want) {
  size_t end = bytes->start + bytes->length;
  if (bytes->capacity - end >= want) {
    return bytes->memory + end;
  }
  /* Moving is worth it only where it frees as much as it moves. */
  if (bytes->start >= bytes->length && bytes->capacity - bytes->length >= want) {
    memmove(bytes->memory, bytes->memory + bytes->start, bytes->length);
    bytes->start = 0;
    return bytes->memory + bytes->length;
  }
  if (want > SIZE_MAX / 4 - bytes->length) {
    return NULL;
  }
  size_t capacity = bytes->capacity ? bytes->capacity : SMALLEST;
  while (capacity < bytes->length + want) {
    capacity *= 2;
  }
  char *memory = malloc(capacity);
  if (!memory) {
    return NULL;
  }
  if (bytes->length > 0) {
    memcpy(memory, tn_bytes_data(bytes), bytes->length);
  }
  free(bytes->memory);
  bytes->memory = memory;
  bytes->capacity = capacity;
  bytes->start = 0;
  return memory + bytes->length;
}

void tn_bytes_commit(struct tn_bytes *bytes, size_t count) {
  bytes->length += count;
}

bool tn_bytes_put_back(struct tn_bytes *bytes, const void *data, size_t length) {
  if (bytes->start >= length) {
    bytes->start -= length;
  } else if (tn_bytes_reserve(bytes, length)) {
    char *first = bytes->memory + bytes->start;
    memmove(first + length, first, bytes->length);
  } else {
    return false;
  }
  memcpy(bytes->memory + bytes->start, data, length);
  bytes->length += length;
  return true;
}

void tn_bytes_consume(struct tn_bytes *bytes, size_t count) {
  bytes->start += count;
  bytes->length -= count;
  if (bytes->length == 0) {
    tn_bytes_free(bytes);
  }
}

void tn_bytes_free(struct tn_bytes *bytes) {
  free(bytes->memory);
  memset(bytes, 0, sizeof *bytes);
}

size_t tn_bytes_find(const struct tn_bytes *bytes, size_t *from, const char *delimiter,
                     size_t length) {
  char last = delimiter[length - 1];
  while (*from < bytes->length) {
    const char *data = tn_bytes_data(bytes);
    const char *hit = memchr(data + *from, last, bytes->length - *from);
    if (!hit) {
      *from = bytes->length;
      break;
    }
    *from = (size_t)(hit - data) + 1;
    if (length == 1 || (*from >= length && memcmp(hit + 1 - length, delimiter, length) == 0)) {
      return *from;
    }
  }
  return 0;
}
