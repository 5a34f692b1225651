/* Uses malloc for ever, to be stopped at any instruction. `live` is the size of all chunks in use, which
   malloc agrees with, but for a constant, when it keeps no cache: GLIBC_TUNABLES=glibc.malloc.tcache_count=0
   cc -O1 malloc-churn.c -o malloc-churn; ./malloc-churn CHUNKS LARGEST */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static volatile long live;

int main(int argc, char **argv) {
  long chunks = argc == 3 ? atol(argv[1]) : 4096, largest = argc == 3 ? atol(argv[2]) : 5000;
  void **chunk = calloc(chunks, sizeof *chunk);
  unsigned seed = 1;
  dprintf(1, "live %p\n", (void *)&live);
  raise(SIGSTOP);
  for (;;) {
    void **one = &chunk[rand_r(&seed) % chunks];
    if (*one != NULL) {
      long size = malloc_usable_size(*one) + sizeof(size_t);
      free(*one);
      *one = NULL;
      live -= size;
    } else {
      *one = malloc(rand_r(&seed) % largest + 1);
      live += malloc_usable_size(*one) + sizeof(size_t);
    }
  }
}
