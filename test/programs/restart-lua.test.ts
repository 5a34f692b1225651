/** Lua, restarted: with Debian's library, whose runs are never alike, and built from its source, where they are. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { DT, readDynamic, readElf } from '../../formats/elf/index.ts';
import { debianFiles, interpreter, restartTests } from '../support/restart-tests.ts';
import { run } from '../support/run.ts';

const LIBRARY = ['-I/usr/include/lua5.4', '-l:liblua5.4.a', '-lm', '-ldl'];
const SAMPLE = interpreter('lua.c');

const { dump, use } = restartTests({
  name: 'lua',
  sources: [SAMPLE, ...LIBRARY],
  load: `
    words = {}
    for i = 1, 20000 do words[i] = 'word ' .. i words['word ' .. i] = i end
    function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end
    next_one = coroutine.wrap(function() for i = 1, math.huge do coroutine.yield(i) end end)
    next_one()
    account = setmetatable({}, {__index = function(_, name) return name:upper() end, __gc = print})
    handlers = {fib, next_one, words}
    function rehash.numbers()
      local numbers = {}
      for i, handler in ipairs(handlers) do numbers[handler] = i end
      return numbers
    end
    numbers = rehash.numbers()`,
  use: `
    print(#words, words[777], words['word 777'], fib(15), next_one(), account.name)
    print(numbers[fib], numbers[next_one], numbers[words], math.random(1000), pcall(error, 'said'))
    for i = 1, 10000 do words['word ' .. i] = nil words['more ' .. i] = {i, tostring(i):rep(9)} end
    collectgarbage()
    local sum, count = 0, 0
    for key, value in pairs(words) do
      count = count + 1
      if type(value) == 'table' then sum = sum + value[1] + #value[2] end
    end
    io.write(count, ' ', sum, ' ', select('#', table.unpack(words, 1, 200)), '\\n')
    local text = io.open('/dev/null', 'w')
    print(io.type(text), text:write('x') == text, text:close(), string.format('%5.2f', math.pi))`,
  change: `words[777] = 'another' for i = 1, 3 do next_one() end`,
});

/** Lua's library without its two programs, and runs that are alike (samples/restart/interpreters/lua.c). */
function fromSource(): string[] {
  const directory = join(debianFiles('lua5.4'), 'src');
  const files = readdirSync(directory).filter(
    file => /^l.*\.c$/.test(file) && file !== 'lua.c' && file !== 'luac.c',
  );
  const alike = ['-Dluai_makeseed(L)=1', '-DSTRCACHE_N=1', '-DSTRCACHE_M=1', '-DLUA_USE_LINUX'];
  return [...alike, `-I${directory}`, ...files.map(file => join(directory, file)), '-lm', '-ldl'];
}

test.serial('the words of lua that are judged by their value are counted and told', async t => {
  const { pointers, remarks, doubtful, target } = await dump('seeded', { strict: false });
  t.is(pointers.method, 'comparison');
  t.true(pointers.doubtful > 10_000 && pointers.doubtful < pointers.pointers, String(pointers.doubtful));
  t.true(pointers.unexplained > 10_000, String(pointers.unexplained));
  t.true(remarks.includes(`${pointers.doubtful} words that look like pointers are doubtful`));
  t.true(remarks.includes(`${pointers.unexplained} words differ between two runs and are no pointers`));
  t.regex(doubtful[0] ?? '', /unexplained: 0x\w+ in one run, 0x\w+ in the other/);
  t.is((await use(target)).status, 0);
  await t.throwsAsync(dump('refused'), { message: /strict|certain|doubtful/i });
});

test.serial('the runs of lua are alike but for a cache when the linker fixes the seed', async t => {
  const flags = ['-DFIXED_SEED', '-Wl,--wrap=luaS_hash', '-Wl,-z,pack-relative-relocs'];
  const { pointers, target } = await dump('wrapped', { strict: false, flags });
  t.true(pointers.doubtful <= 53 * 2, String(pointers.doubtful)); // as many as lua's cache of C strings has
  t.like(pointers, { unexplained: 0, outward: 0 });
  const tags = readDynamic(readElf(readFileSync(target))).map(({ tag }) => tag);
  t.true(tags.includes(DT.DT_RELR));
  t.like(await use(target), { status: 0, stderr: '' });
});

test.serial('lua built from its source is certain of every word', async t => {
  const { pointers, target } = await dump('from-source', { sources: [SAMPLE, ...fromSource()] });
  t.like(pointers, { method: 'comparison', doubtful: 0, unexplained: 0, outward: 0 });
  t.like(await use(target), { status: 0, stderr: '' });
});

test.serial('lua that is linked to its address is restarted without a relative relocation', async t => {
  const flags = ['-DFIXED_SEED', '-Wl,--wrap=luaS_hash'];
  const relative = async (variant: string, kind: string): Promise<number> => {
    const { target } = await dump(variant, { strict: false, flags: [...flags, kind] });
    t.like(await use(target), { status: 0, stderr: '' });
    const { stderr } = await run(target, { args: [''], env: { LD_DEBUG: 'statistics' } });
    return Number(/number of relative relocations: (\d+)/.exec(stderr)?.[1] ?? Number.NaN);
  };
  t.true((await relative('anywhere', '-pie')) > 20_000);
  t.is(await relative('at-its-address', '-no-pie'), 0);
});
