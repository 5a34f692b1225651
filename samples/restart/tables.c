/* Pointers of every kind: in const tables, initialised and overwritten, to functions of the C library, and to what
   the C library owns, which no dump keeps: `tables forget` clears it before it asks to be frozen.
   cc tables.c unexec-runtime.c -o tables; ./tables */
#include "unexec.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_length(const char *a, const char *b) { return (int)strlen(a) - (int)strlen(b); }
static int by_end(const char *a, const char *b) { return a[strlen(a) - 1] - b[strlen(b) - 1]; }
static const char *const words[] = {"unexec", "freezes", "an", "initialised", "program"};
static int (*const orders[])(const char *, const char *) = {by_length, by_end, strcmp};
struct rule {
  const char *name;
  int (*order)(const char *, const char *);
  int (*letter)(int);
};
static struct rule rules[] = {{"length", by_length, tolower}, {"end", by_end, NULL}, {"none", NULL, NULL}};
static int (*order)(const char *, const char *) = by_length; /* overwritten with a function of the library */
static void *(*allocate)(size_t) = malloc;                   /* the other way round */
static const char *middle = NULL;                            /* into the middle of a constant */
static FILE *out;                                            /* the library's, of this life */

static void *allocate_cleared(size_t size) { return calloc(1, size); }
static int compare(const void *a, const void *b) { return order(*(char *const *)a, *(char *const *)b); }

static void initialise(void) {
  order = strcmp;
  allocate = allocate_cleared;
  middle = words[3] + 2;
  rules[1].letter = toupper;
  rules[2] = (struct rule){"spelling", orders[2], tolower};
}

int main(int argc, char **argv) {
  struct unexec_args args;
  if (!unexec_restarted()) initialise();
  out = stdout;
  for (int i = 0; i < 3; i++) {
    const char **sorted = allocate(sizeof words + sizeof *sorted);
    memcpy(sorted, words, sizeof words);
    order = rules[i].order;
    qsort(sorted, 5, sizeof *sorted, compare);
    fprintf(out, "by %s%c:", rules[i].name, rules[i].letter('X'));
    for (int j = 0; sorted[j] != NULL; j++) fprintf(out, " %s", sorted[j]);
    fprintf(out, "\n");
    free(sorted);
  }
  fprintf(out, "%s %s\n", middle, order == strcmp ? "strcmp" : "another order");
  fflush(out);
  if (argc > 1 && strcmp(argv[1], "forget") == 0) out = NULL;
  unexec_freeze(&args);
  return 0;
}
