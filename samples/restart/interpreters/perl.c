/* A perl whose world is kept: `perl CODE...` evaluates its arguments, in any life, and then asks to be dumped. So
   `perl A B` says the same as `perl A`, dumped, and then `perl.restart B`.
   perl -MExtUtils::Embed -e xsinit -- -o perlxsi.c                                 (Debian: libperl-dev)
   cc perl.c perlxsi.c unexec-runtime.c $(perl -MExtUtils::Embed -e ccopts) -Wl,-E -l:libperl.a -lcrypt -lm -o perl
   unexec prepare perl perl.prepared --reserve 256M
   unexec --style restart ./perl.prepared perl.restart -- 'use Text::Wrap; our %words = ...'; ./perl.restart '...'

   Modules of Perl are kept; those with a part in C are libraries of the process, and may be loaded in each life.

   Anew in each life: the key of the thread's interpreter and the locale "C", which the C library gave out. The
   hash of strings has a seed; it is fixed here, or each run would lay its hashes out anew, and unexec would have
   to judge many words by their value. */
#include "unexec.h"
#include <EXTERN.h>
#include <perl.h>

static PerlInterpreter *my_perl;
IV chunks; /* evaluated so far, in all lives */
EXTERN_C void xs_init(pTHX);

static int begin(void) {
  static char *words[] = {"perl", "-e", "0", NULL};
  setenv("PERL_HASH_SEED", "0", 1);
  setenv("PERL_PERTURB_KEYS", "0", 1);
  perl_construct(my_perl = perl_alloc());
  return perl_parse(my_perl, xs_init, 3, words, NULL) || perl_run(my_perl);
}
static int begin_again(void) {
  if (pthread_key_create(&PL_thr_key, NULL) != 0) return 1;
  PL_C_locale_obj = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  PERL_SET_CONTEXT(my_perl);
  return PL_C_locale_obj == (locale_t)0;
}
static void evaluate(const char *code) {
  eval_pv(code, 0);
  if (!SvTRUE(ERRSV)) return;
  fprintf(stderr, "%s", SvPV_nolen(ERRSV));
  exit(1);
}
int main(int argc, char **argv, char **env) {
  struct unexec_args args;
  PERL_SYS_INIT3(&argc, &argv, &env);
  if (unexec_restarted() ? begin_again() : begin()) return 1;
  for (int i = 1; i < argc; i++, chunks++) evaluate(argv[i]);
  PerlIO_flush(NULL);
  unexec_freeze(&args); /* dumped here: a later life begins at main */
  return 0;
}
