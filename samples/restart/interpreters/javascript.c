/* A JavaScript engine whose world is kept: `javascript CODE...` evaluates its arguments, in any life, and then
   asks to be dumped. So `javascript A B` says the same as `javascript A`, dumped, and then `javascript.restart B`.
   QuickJS is built from its source, which also makes qjs: make libquickjs.a       (Debian: apt-get source quickjs)
   cc javascript.c unexec-runtime.c libquickjs.a -lm -ldl -o javascript
   unexec prepare javascript javascript.prepared --reserve 256M
   unexec --style restart ./javascript.prepared javascript.restart -- 'var words = new Map() ...'
   ./javascript.restart 'print(words.size)'

   Anew in each life: where the stack begins, by which the engine knows that it runs over. A Map or Set whose keys
   are objects finds them by their address; the functions of `rehash` make such ones again.
   Each context has random numbers that begin with the time: the one word that two runs do not explain. */
#include "unexec.h"
#include <quickjs-libc.h>
#include <quickjs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

JSRuntime *runtime;
JSContext *context;
long chunks; /* evaluated so far, in all lives */

static void evaluate(const char *code) {
  JSValue value = JS_Eval(context, code, strlen(code), "<argument>", JS_EVAL_TYPE_GLOBAL);
  if (JS_IsException(value)) js_std_dump_error(context), exit(1);
  JS_FreeValue(context, value);
  for (JSContext *other; JS_ExecutePendingJob(runtime, &other) > 0;) {}
}
int main(int argc, char **argv) {
  struct unexec_args args;
  if (unexec_restarted()) {
    JS_UpdateStackTop(runtime);
    evaluate("for (const again of rehash) again()");
  } else {
    runtime = JS_NewRuntime();
    context = JS_NewContext(runtime);
    js_std_add_helpers(context, 0, NULL); /* print, console */
    evaluate("var rehash = []");
  }
  for (int i = 1; i < argc; i++, chunks++) evaluate(argv[i]);
  JS_RunGC(runtime);
  fflush(stdout);
  unexec_freeze(&args); /* dumped here: a later life begins at main */
  return 0;
}
