/*
 * A library whose initialiser builds a world: a hash table of words, functions by name, and a list of 100,000
 * objects. Frozen (unexec --style shared --init urf_init libworld.so liburf.so), it is all there at dlopen.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 1024
#define OBJECTS 100000

struct word { struct word *next; char *text; int (*kind)(int); };
struct object { struct object *next; struct word *name; unsigned number; };

static struct word *table[BUCKETS];
static int (*const kinds[])(int) = { isalpha, isdigit, toupper };
static unsigned bytes_of_text;
struct object *urf_objects;
const char *urf_greeting = "hello";

static unsigned hash(const char *text) {
    unsigned h = 5381;
    while (*text) h = h * 33 ^ (unsigned char)*text++;
    return h % BUCKETS;
}

struct word *urf_word(const char *text) {
    struct word *w = table[hash(text)];
    while (w && strcmp(w->text, text) != 0) w = w->next;
    return w;
}

int urf_init(void) {
    for (int i = 0; i < OBJECTS; i++) {
        char text[32];
        bytes_of_text += snprintf(text, sizeof text, "word %d", i % 5000);
        struct word *w = urf_word(text);
        if (!w) {
            w = malloc(sizeof *w);
            *w = (struct word){ table[hash(text)], strdup(text), kinds[i % 3] };
            table[hash(text)] = w;
        }
        struct object *o = malloc(sizeof *o);
        *o = (struct object){ urf_objects, w, i };
        urf_objects = o;
    }
    return 42;
}

/* Says what the world is like, to be compared with another one's. */
void urf_describe(char *into, size_t size) {
    unsigned long sum = 0, count = 0;
    for (struct object *o = urf_objects; o; o = o->next, count++)
        sum += o->number * (unsigned long)(strlen(o->name->text) + (o->name->kind('7') != 0));
    snprintf(into, size, "%s %lu objects, sum %lu, %u bytes", urf_greeting, count, sum, bytes_of_text);
}

/* Changes what the initialiser has allocated: a text grows, an object goes. */
void urf_change(const char *text, const char *longer) {
    struct word *w = urf_word(text);
    w->text = realloc(w->text, strlen(longer) + 1);
    strcpy(w->text, longer);
    struct object *gone = urf_objects;
    urf_objects = gone->next;
    free(gone);
}
