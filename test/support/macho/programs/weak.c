/* Weak symbols: the program's own definition goes before the system's; an import that is nowhere is NULL. */
#include <malloc/malloc.h>
#include <stdio.h>

extern int nowhere(void) __attribute__((weak_import));
__attribute__((weak)) size_t malloc_good_size(size_t size) { return 7; }
size_t (*good_size)(size_t) = malloc_good_size;
int (*missing)(void) = nowhere;

int main(void) {
  printf("good size %lu, missing %d\n", good_size(100), missing == NULL && nowhere == NULL);
  return 0;
}
