/* Uses malloc in some threads, frees a part of it, says what malloc counts as used, and stops itself.
   cc -O1 malloc-zones.c -o malloc-zones -pthread; ./malloc-zones THREADS CHUNKS LARGEST PERCENT_FREED */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static long chunks, largest, percent;
static pthread_barrier_t ready;
static void use_malloc(unsigned seed) {
  char **chunk = calloc(chunks, sizeof *chunk);
  for (int round = 0; round < 3; round++)
    for (long i = 0; i < chunks; i++)
      if (round % 2 == 0 && chunk[i] == NULL)
        *(chunk[i] = malloc(rand_r(&seed) % (largest >> round) + 1)) = 1;
      else if (round == 1 && rand_r(&seed) % 100 < percent)
        free(chunk[i]), chunk[i] = rand_r(&seed) % 2 ? NULL : malloc(24);
}

static void *thread(void *seed) {
  use_malloc((size_t)seed);
  dprintf(1, "thread %d %#lx\n", gettid(), (unsigned long)pthread_self());
  pthread_barrier_wait(&ready);
  return NULL + pause();
}
int main(int argc, char **argv) {
  if (argc != 5) return 2;
  long threads = atol(argv[1]);
  chunks = atol(argv[2]), largest = atol(argv[3]), percent = atol(argv[4]);
  pthread_barrier_init(&ready, NULL, threads + 1);
  use_malloc(1);
  for (long i = 0; i < threads; i++) pthread_create(&(pthread_t){0}, NULL, thread, (void *)(i + 2));
  pthread_barrier_wait(&ready);
  struct mallinfo2 info = mallinfo2();
  dprintf(1, "used %zu\n", info.uordblks + info.hblkhd);
  raise(SIGSTOP);
}
