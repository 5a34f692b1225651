/* libmalloc's zones, as programs see them: order of the list, dispatch by size(), a zone of the program's own. */
#include <malloc/malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static _Alignas(16) char arena[4096];
static size_t used;
static unsigned freed, sized;

static size_t my_size(malloc_zone_t *z, const void *p) {
  const char *at = p;
  return at >= arena && at < arena + used ? 64 : 0;
}
static void *my_malloc(malloc_zone_t *z, size_t n) {
  if (n > 64 || used == sizeof arena) return NULL;
  used += 64;
  return arena + used - 64;
}
static void *my_calloc(malloc_zone_t *z, size_t n, size_t size) { return my_malloc(z, n * size); }
static void *my_valloc(malloc_zone_t *z, size_t n) { return NULL; }
static void my_free(malloc_zone_t *z, void *p) { freed++; }
static void my_free_definite_size(malloc_zone_t *z, void *p, size_t n) { sized += n == 64; }
static void *my_realloc(malloc_zone_t *z, void *p, size_t n) { return n <= 64 ? p : NULL; }
static void my_destroy(malloc_zone_t *z) {}
static size_t my_good_size(malloc_zone_t *z, size_t n) { return 64; }
static boolean_t my_check(malloc_zone_t *z) { return 1; }
static unsigned held, taken;
static void my_lock(malloc_zone_t *z) { held++, taken++; }
static void my_unlock(malloc_zone_t *z) { held--; }
static malloc_introspection_t introspection = {
    .good_size = my_good_size, .check = my_check, .force_lock = my_lock, .force_unlock = my_unlock};
static malloc_zone_t mine = {
    .size = my_size, .malloc = my_malloc, .calloc = my_calloc, .valloc = my_valloc, .free = my_free,
    .realloc = my_realloc, .destroy = my_destroy, .zone_name = "mine", .introspect = &introspection, .version = 5};

static const char *order(void) {
  static char text[256];
  vm_address_t *zones;
  unsigned count;
  malloc_get_all_zones(mach_task_self(), NULL, &zones, &count);
  text[0] = 0;
  for (unsigned i = 0; i < count; i++) {
    strlcat(text, i == 0 ? "" : " ", sizeof text);
    strlcat(text, ((malloc_zone_t *)zones[i])->zone_name, sizeof text);
  }
  return text;
}

static malloc_zone_t *first(void) {
  vm_address_t *zones;
  unsigned count;
  malloc_get_all_zones(mach_task_self(), NULL, &zones, &count);
  return (malloc_zone_t *)zones[0];
}

int main(int argc, char **argv) {
  char *before = malloc(40), *same = strdup("kept");
  void *aligned = NULL;
  malloc_zone_t *other = malloc_create_zone(0, 0);
  malloc_set_zone_name(other, "other");
  malloc_zone_register(&mine);
  printf("%s\n", order());
  malloc_zone_t *system = first();
  malloc_zone_unregister(system);
  printf("%s\n", order());
  malloc_zone_register(system);
  malloc_zone_unregister(other);
  malloc_zone_register(other);
  printf("%s\n", order());
  printf("default is first %d, virtual %d\n", first() == &mine, malloc_default_zone() != &mine);
  char *ours = malloc(10), *theirs = malloc_zone_malloc(other, 100);
  printf("owners %s %s %s\n", malloc_zone_from_ptr(ours)->zone_name, malloc_zone_from_ptr(before)->zone_name,
         malloc_zone_from_ptr(theirs)->zone_name);
  printf("sizes %zu %zu %zu %zu\n", malloc_size(ours), malloc_size(before), malloc_size(theirs), malloc_size(&used));
  before = realloc(before, 4000);
  printf("%s realloc'd in %s, %d\n", same, malloc_zone_from_ptr(before)->zone_name, realloc(ours, 60) == ours);
  free(before), free(same), free(theirs), free(NULL);
  free(ours);
  mine.version = 6, mine.free_definite_size = my_free_definite_size;
  free(malloc(1));
  printf("freed %u, by size %u; too much %d, aligned %d\n", freed, sized, malloc(65) == NULL,
         posix_memalign(&aligned, 64, 64));
  int cleared = 0;
  char *zero = malloc_zone_calloc(other, 1, 4000);
  for (int i = 0; i < 4000; i++) cleared += zero[i] == 0;
  aligned = malloc_zone_memalign(other, 1 << 14, 10);
  printf("cleared %d, aligned %d %lu\n", cleared, (uintptr_t)aligned % (1 << 14) == 0, malloc_good_size(1));
  pid_t child = fork();
  if (child == 0) _exit(taken * 10 + held);
  int status;
  waitpid(child, &status, 0);
  printf("locks in the child %d, here %u%u; pages %d, mmap at %lu\n", WEXITSTATUS(status), taken, held, getpagesize(),
         (uintptr_t)mmap(NULL, 1, PROT_READ, MAP_PRIVATE | MAP_ANON, -1, 0) % (uintptr_t)getpagesize());
  fflush(stdout);
  if (argc > 1) free(&used);
  malloc_zone_register(&mine);
  return 0;
}
