/*
 * A library whose initialiser builds a world: words in a hash table, a list of 100,000 objects, functions by
 * pointer, a sorted index. Frozen (unexec --style shared --init urf_init libworld.so liburf.so) it is all there
 * at dlopen.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define BUCKETS 1024
#define OBJECTS 100000

struct word { struct word *next; char *text; int (*kind)(int); };
struct object { struct object *next; struct word *name; unsigned number; };

static int (*const kinds[])(int) = { isalpha, isdigit, toupper };
static struct word *table[BUCKETS];
static struct object *objects, **sorted;
static FILE *const *stream = &stdout;

static struct word *word(const char *text) {
    unsigned h = 5381;
    for (const char *c = text; *c; c++) h = h * 33 ^ (unsigned char)*c;
    struct word **at = &table[h % BUCKETS];
    while (*at && strcmp((*at)->text, text) != 0) at = &(*at)->next;
    if (*at) return *at;
    *at = malloc(sizeof **at);
    **at = (struct word){ NULL, strdup(text), kinds[h % 3] };
    return *at;
}

static int compare(const void *a, const void *b) {
    const struct object *x = *(struct object **)a, *y = *(struct object **)b;
    int order = strcmp(x->name->text, y->name->text);
    return order ? order : x->number < y->number ? -1 : 1;
}

int urf_init(void) {
    sorted = malloc(OBJECTS * sizeof *sorted);
    for (unsigned i = 0; i < OBJECTS; i++) {
        char text[32];
        snprintf(text, sizeof text, "word %u", i * 7919 % 5003);
        struct object *o = sorted[i] = malloc(sizeof *o);
        *o = (struct object){ objects, word(text), i };
        objects = o;
    }
    qsort(sorted, OBJECTS, sizeof *sorted, compare);
    return OBJECTS;
}

/* Changes what was allocated: the first word's text grows, an object goes. Says what the world is like then. */
void urf_use(char *into, size_t size) {
    char *text = sorted[0]->name->text = realloc(sorted[0]->name->text, 64);
    struct object *gone = objects;
    objects = gone->next;
    free(gone);
    unsigned long sum = 0, last = sorted[OBJECTS - 1]->number, isOut = *stream == stdout;
    for (struct object *o = objects; o; o = o->next) sum += o->number * (strlen(o->name->text) + !!o->name->kind('7'));
    snprintf(into, size, "sum %lu, first \"%s\" %u, last %lu, stdout %lu", sum, strcat(text, "!"), sorted[0]->number, last, isOut);
}
