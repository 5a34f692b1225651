/* A table that finds things by their addresses, which are others in the next life: it is filled anew before main.
   cc rehash.c unexec-runtime.c -o rehash; ./rehash */
#include "unexec.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THINGS = 1000, SLOTS = 2048 };
struct slot {
  const char *thing;
  unsigned number;
};
static struct slot *table;
static char *things[THINGS];
static unsigned rehashed;

static struct slot *find(struct slot *in, const char *thing) {
  size_t at = ((uintptr_t)thing * 0x9e3779b97f4a7c15u) >> 53;
  while (in[at].thing != NULL && in[at].thing != thing) at = (at + 1) % SLOTS;
  return &in[at];
}
static void rehash(void) {
  struct slot *old = table;
  table = calloc(SLOTS, sizeof *table);
  for (unsigned i = 0; i < SLOTS; i++)
    if (old[i].thing != NULL) *find(table, old[i].thing) = old[i];
  free(old);
  rehashed++;
}
static void initialise(void) {
  table = calloc(SLOTS, sizeof *table);
  for (unsigned i = 0; i < THINGS; i++) {
    things[i] = malloc(10 + i % 30);
    snprintf(things[i], 10, "thing %u", i % 100);
    *find(table, things[i]) = (struct slot){things[i], i};
  }
  unexec_at_restart(rehash);
}

int main(void) {
  struct unexec_args args;
  if (!unexec_restarted()) initialise();
  unsigned found = 0;
  for (unsigned i = 0; i < THINGS; i++) found += find(table, things[i])->thing == things[i] && find(table, things[i])->number == i;
  printf("found %u of %d, rehashed %u time(s), %s\n", found, THINGS, rehashed, things[99]);
  fflush(stdout);
  unexec_freeze(&args);
  return found != THINGS;
}
