/* Stands in for libFuzzer where the compiler has none: gives each file that is named, or lies in a
 * folder that is named, to the target once. Options are left to libFuzzer. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

extern int LLVMFuzzerInitialize(int *argc, char ***argv);
extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void give_file(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END) != 0) {
    perror(path);
    exit(1);
  }
  size_t size = (size_t)ftell(file);
  uint8_t *data = malloc(size + 1);
  rewind(file);
  if (!data || fread(data, 1, size, file) != size) {
    perror(path);
    exit(1);
  }
  fclose(file);
  fprintf(stderr, "Running: %s\n", path);
  LLVMFuzzerTestOneInput(data, size);
  free(data);
}

static void give(const char *path) {
  DIR *folder = opendir(path);
  if (!folder) {
    give_file(path);
    return;
  }
  for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
    if (entry->d_name[0] != '.') {
      char name[4096];
      snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
      give_file(name);
    }
  }
  closedir(folder);
}

int main(int argc, char **argv) {
  LLVMFuzzerInitialize(&argc, &argv);
  for (int i = 1; i < argc; i++) {
    if (argv[i][0] != '-') {
      give(argv[i]);
    }
  }
  return 0;
}
