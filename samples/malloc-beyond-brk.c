/* A page right behind the break: malloc has to go on elsewhere, its main arena is no longer contiguous.
   cc -O1 malloc-beyond-brk.c -o malloc-beyond-brk; ./malloc-beyond-brk CHUNKS */
#define _GNU_SOURCE
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv) {
  long chunks = argc == 2 ? atol(argv[1]) : 5000;
  char **chunk = malloc(chunks * sizeof *chunk);
  char *end = (char *)(((unsigned long)sbrk(0) + 0x10fff) & ~0xfffUL);
  if (mmap(end, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != end) return 1;
  for (long i = 0; i < chunks; i++) chunk[i] = malloc(1000 + i % 500);
  for (long i = 0; i < chunks; i += 3) free(chunk[i]);
  struct mallinfo2 info = mallinfo2();
  dprintf(1, "used %zu\n", info.uordblks + info.hblkhd);
  raise(SIGSTOP);
}
