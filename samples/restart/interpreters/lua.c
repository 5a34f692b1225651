/* A lua whose world is kept: `lua CHUNK...` runs its arguments, in any life, and then asks to be dumped. So
   `lua A B` says the same as `lua A`, dumped, and then `lua.restart B`.
   cc lua.c unexec-runtime.c -l:liblua5.4.a -lm -ldl -o lua                         (Debian: liblua5.4-dev)
   unexec prepare lua lua.prepared --reserve 256M
   unexec --style restart ./lua.prepared lua.restart -- 'words = {} ...'; ./lua.restart 'print(#words)'

   Lua seeds its string hash with addresses and the time. Each run then lays its tables out anew, and for two of
   them unexec has to judge many words by their value; it says how many. Alike they become where Lua is built from
   source with -D'luai_makeseed(L)=1' -DSTRCACHE_N=1 -DSTRCACHE_M=1, and --strict passes. With a library that is
   there already the linker can fix the seed, since nothing else calls luaS_hash from another file than its own:
   cc -DFIXED_SEED -Wl,--wrap=luaS_hash ... (a cache of C strings still goes by address: some 100 words are left).

   Anew in each life: the library io, whose files are the C library's; and tables with tables, functions or userdata
   as keys, which are found by their address. A function in `rehash` makes such a table. */
#include "unexec.h"
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

lua_State *world;
long chunks; /* run so far, in all lives */

#ifdef FIXED_SEED
unsigned __wrap_luaS_hash(const char *string, size_t length, unsigned seed);
unsigned __wrap_luaS_hash(const char *string, size_t length, unsigned seed) {
  return (void)string, (void)length, (void)seed, 1;
}
#endif
static const char begin[] = "math.randomseed(1)\n" /* it begins with an address and the time */
                            "rehash = {}";
static const char begin_again[] = "for name, make in pairs(rehash) do _G[name] = make() end";
static const char leave[] = "local registry = debug.getregistry()\n"
                            "io, package.loaded.io, registry._IO_input, registry._IO_output = nil\n"
                            "for name in pairs(rehash) do _G[name] = nil end\n"
                            "collectgarbage() collectgarbage()"; /* finalised, and then freed */

static void run(const char *chunk) {
  if (luaL_dostring(world, chunk) == LUA_OK) return;
  fprintf(stderr, "%s\n", lua_tostring(world, -1));
  exit(1);
}
int main(int argc, char **argv) {
  struct unexec_args args;
  if (!unexec_restarted()) luaL_openlibs(world = luaL_newstate());
  luaL_requiref(world, LUA_IOLIBNAME, luaopen_io, 1);
  lua_settop(world, 0);
  run(unexec_restarted() ? begin_again : begin);
  for (int i = 1; i < argc; i++, chunks++) run(argv[i]);
  run(leave);
  fflush(stdout);
  unexec_freeze(&args); /* dumped here: a later life begins at main */
  return 0;
}
