/* Some state of every kind, and a place to stop at: `here`. `state threads` stops with a second thread waiting. */
#include <mach-o/dyld.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct node {
  struct node *next;
  const char *name;
  long value;
};
struct node *head;
static char text[64];
volatile int constructed = 3;
_Thread_local int counter = 40;
_Thread_local int zeroed;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ready = PTHREAD_COND_INITIALIZER, over = PTHREAD_COND_INITIALIZER;
static int waiting, done;

static int twice(int n) { return 2 * n; }
int (*table[])(int) = {twice, abs};
const char *const names[] = {"first", "second"};

__attribute__((constructor)) static void construct(void) { constructed += 4; }
__attribute__((noinline)) void here(long magic) { __asm__ volatile("" : : "r"(magic)); }

__attribute__((noinline)) void wait_in_thread(void) {
  pthread_mutex_lock(&lock);
  waiting = 1;
  pthread_cond_signal(&ready);
  while (!done) pthread_cond_wait(&over, &lock);
  pthread_mutex_unlock(&lock);
}

static void *thread(void *wait) {
  counter += 2, zeroed += 1;
  if (wait != NULL) wait_in_thread();
  return (void *)(long)(counter + zeroed);
}

int main(int argc, char **argv) {
  int threads = argc > 1 && strcmp(argv[1], "threads") == 0;
  for (int i = 0; i < 3; i++) {
    struct node *node = malloc(sizeof *node);
    *node = (struct node){head, names[i % 2], i};
    head = node;
  }
  strcpy(text, "hello");
  counter += 1;
  pthread_t id;
  void *result;
  pthread_create(&id, NULL, thread, threads ? text : NULL);
  if (threads) {
    pthread_mutex_lock(&lock);
    while (!waiting) pthread_cond_wait(&ready, &lock);
    pthread_mutex_unlock(&lock);
  }
  here(0x1234567890);
  pthread_mutex_lock(&lock);
  done = 1;
  pthread_cond_signal(&over);
  pthread_mutex_unlock(&lock);
  pthread_join(id, &result);

  long sum = 0;
  for (struct node *node = head; node != NULL; node = node->next) sum += node->value;
  printf("list %ld %s, constructed %d, thread-locals %d %d %ld\n", sum, head->next->name, constructed, counter, zeroed,
         (long)result);
  printf("table %d, %s %c %.2f %lld, slide %lx\n", table[0](21) + table[1](-1), text, 'x', 1.5, -5ll,
         (long)_dyld_get_image_vmaddr_slide(0));
  return 7;
}
