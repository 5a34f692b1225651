/* What is done again in a second life and what is not: a constructor has run, the thread's variables are new.
   cc constructors.c unexec-runtime.c -o constructors; ./constructors */
#include "unexec.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile int wanted = 1; /* for no compiler to do the constructor's work */
static int constructed, lives;
static char *made;
static _Thread_local int counter = 40;
static _Thread_local char scratch[32];

__attribute__((constructor)) static void construct(void) {
  constructed += wanted;
  made = malloc(64);
  strcpy(made, "made before main");
}

int main(void) {
  struct unexec_args args;
  lives++;
  counter++;
  printf("life %d, %s\n", lives, unexec_restarted() ? "restarted" : "started");
  printf("constructors ran %d time(s), %s\n", constructed, made);
  printf("thread-local: %d '%s'\n", counter, scratch); /* 41 '' in every life */
  snprintf(scratch, sizeof scratch, "of life %d", lives);
  fflush(stdout);
  unexec_freeze(&args);
  return 0;
}
