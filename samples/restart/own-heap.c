/* A program with an allocator of its own, on the brk heap, as Lisps had it: linked to its address, it needs neither
   runtime nor `unexec prepare`. Data, bss and heap become segments of the new executable; the break begins behind
   them, as far away as the kernel likes, so that old and new memory are not one piece.
   cc -no-pie own-heap.c -o own-heap; unexec --style restart --at request ./own-heap ./own-heap.restart */
#define _DEFAULT_SOURCE
#include "unexec.h"
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

union cell {
  struct {
    union cell *head, *tail;
  };
  char bytes[16];
};
static union cell *free_cells;
static union cell *world; /* a list of lists of numbers, as odd pointers */
static int lives, regions;
static char buffer[BUFSIZ]; /* for the C library not to allocate one */

static union cell *cons(union cell *head, union cell *tail) {
  enum { CELLS = 4096 };
  if (free_cells == NULL) {
    union cell *fresh = sbrk(CELLS * sizeof *fresh);
    if (fresh == (void *)-1) _exit(1);
    regions++;
    for (int i = 0; i < CELLS; i++) fresh[i].head = free_cells, free_cells = &fresh[i];
  }
  union cell *cell = free_cells;
  free_cells = cell->head;
  cell->head = head, cell->tail = tail;
  return cell;
}
static union cell *number(uintptr_t n) { return (union cell *)(n << 1 | 1); }

int main(void) {
  struct unexec_args args;
  setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
  union cell *row = NULL;
  for (uintptr_t n = 0; n < 3000; n++) row = cons(number((lives + 1) * n), row);
  world = cons(row, world);
  lives++;
  uintptr_t rows = 0, sum = 0;
  for (union cell *r = world; r != NULL; r = r->tail, rows++)
    for (union cell *c = r->head; c != NULL; c = c->tail) sum += (uintptr_t)c->head >> 1;
  printf("life %d: %lu rows, sum %lu, %d regions\n", lives, (unsigned long)rows, (unsigned long)sum, regions);
  fflush(stdout);
  unexec_freeze(&args);
  return 0;
}
