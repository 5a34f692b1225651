/* Builds a world of lists, a hash table, function pointers and strings once, and then plays rounds in it, one in
   each life: `world ROUNDS` plays as many in one life and says the same as so many lives together.
   cc world.c unexec-runtime.c -o world; ./world */
#include "unexec.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
  struct entry *next, *older; /* in its chain of the table; and made just before */
  char *name;
  unsigned (*apply)(unsigned);
  unsigned value;
};
static unsigned twice(unsigned n) { return 2 * n; }
static unsigned square(unsigned n) { return n * n; }
static unsigned negate(unsigned n) { return ~n; }
static unsigned (*const operations[])(unsigned) = {twice, square, negate};

static struct entry *table[64], *newest; /* bss */
static struct entry **last_slot = &table[63]; /* data that points to bss */
static char *diary;
static unsigned rounds, written;

static struct entry *lookup(unsigned number) {
  char name[32];
  snprintf(name, sizeof name, "entry %u of the world", number);
  struct entry **slot = &table[number * 2654435761u >> 26];
  while (*slot != NULL && strcmp((*slot)->name, name) != 0) slot = &(*slot)->next;
  if (*(last_slot = slot) != NULL) return *slot;
  *slot = calloc(1, sizeof **slot);
  **slot = (struct entry){NULL, newest, strdup(name), operations[number % 3], number};
  return newest = *slot;
}
static void play(void) {
  rounds++;
  for (unsigned i = 0; i < 1000; i++) lookup(rounds * 300 + i)->value += i; /* old ones and new ones */
  unsigned length = 0, chained = 0, sum = 0;
  for (struct entry *entry = newest; entry != NULL; entry = entry->older, length++) {
    sum += entry->value = entry->apply(entry->value);
    if (length % 3 != rounds % 3) continue;
    char *name = malloc(64 + length % 7 * 40); /* an old block freed, and another one grown */
    strcpy(name, entry->name), free(entry->name);
    entry->name = realloc(name, 200);
  }
  for (unsigned i = 0; i < 64; i++)
    for (struct entry *entry = table[i]; entry != NULL; entry = entry->next) chained++;
  char *end = (diary = realloc(diary, rounds * 64)) + written;
  written += snprintf(end, 64, "[%u: %u of %u, %u]", rounds, length, chained, sum);
  printf("round %u %s %s\n", rounds, diary, (*last_slot)->name);
  printf("fault of the zone: %s\n", unexec_zone_check(NULL) == NULL ? "none" : unexec_zone_check(NULL));
}
int main(int argc, char **argv) {
  struct unexec_args args;
  printf("%s\n", unexec_restarted() ? "restarted" : "started");
  do
    for (int i = argc > 1 ? atoi(argv[1]) : 1; i > 0; i--) play();
  while (fflush(stdout) == 0 && unexec_freeze(&args)); /* 1: it goes on here (resume); 0: main comes again (restart) */
  return 0;
}
