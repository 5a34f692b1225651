/**
 * Judged by the program's own dlsym(3) and dlvsym(3), and by nm.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test from 'ava';
import type { Module } from '../../unexec/image.ts';
import { type FoundSymbol, mappedModules, OutwardSymbols } from '../../unexec/outward-symbols.ts';
import { compileTo } from '../support/compile.ts';
import { type LiveView, withStopped } from '../support/live-view.ts';
import { ROOT, sandbox } from '../support/sandbox.ts';

const directory = sandbox('outward');
const library = join(directory, 'libnames.so');
const program = join(directory, 'pointers');
const fixture = (name: string): string => join(ROOT, 'test/fixtures/outward', name);
compileTo(library, fixture('names.c'), ['-shared', '-fPIC']);
compileTo(program, fixture('pointers.c'), [
  '-ldl',
  '-lm',
  library,
  `-Wl,-rpath,${directory}`,
  '-fno-builtin',
]);

const pointersOf = ({ output }: LiveView): Map<string, number> =>
  new Map([...output.matchAll(/^(\S+) (0x\w+)$/gm)].map(([, what = '', value]) => [what, Number(value)]));

const textOf = ({ symbol, addend }: FoundSymbol): string => `${symbol}${addend === 0 ? '' : `+${addend}`}`;

/** name@version -> address, of what a library exports. */
function nm({ path, bias }: Module): Map<string, number> {
  const lines = execFileSync('nm', ['-D', '--defined-only', '--with-symbol-versions', path], {
    encoding: 'utf8',
  });
  // What is per thread has an offset for a value.
  const found = [...lines.matchAll(/^(\w{16}) ([^A]) (\S+)$/gm)].filter(
    ([, value]) => Number(`0x${value}`) >= 4096,
  );
  return new Map(
    found.map(([, value, , name = '']) => [name.replace('@@', '@'), Number(BigInt(`0x${value}`) + bias)]),
  );
}

test('OutwardSymbols names what the program got by name', async t => {
  await withStopped(program, [], live => {
    const modules = mappedModules(live.view, program);
    const symbols = new OutwardSymbols(modules, live.view.memory);
    const pointers = pointersOf(live);
    t.true(pointers.size > 20);
    const expected = [...pointers.keys()].filter(what => !what.startsWith('!'));
    for (const what of expected) {
      const found = symbols.resolve(pointers.get(what) ?? 0);
      if (found.kind !== 'symbol') return t.fail(`${what}: ${found.message}`);
      const [name = '', version] = what.split('@');
      t.is(textOf(found), name);
      if (version !== undefined) t.is(found.version, version);
      if (what.startsWith('names')) t.like(found, { library: 'libnames.so', version: undefined });
      else t.is(found.library, what === 'sin' ? 'libm.so.6' : 'libc.so.6');
    }
    t.like(symbols.resolve(pointers.get('puts') ?? 0), { version: 'GLIBC_2.2.5' });
    t.like(symbols.resolve(pointers.get('memcpy') ?? 0), { version: 'GLIBC_2.14' });
    // Copied data is the program's, and to be looked for where it came from.
    t.like(symbols.resolve(pointers.get('optarg') ?? 0), { library: 'libc.so.6', version: 'GLIBC_2.2.5' });
    return undefined;
  });
});

const refusals = {
  '!interposed': ['interposed', /memfrob.* leads to pointers/],
  '!copied': ['interposed', /optarg.* leads to pointers/],
  '!within': ['within-function', /libc\.so\.6\+0x\w+ \(\S*puts\+0x4\): it is inside a function, \S*puts$/],
  '!private': ['private-version', /__libc_early_init.*GLIBC_PRIVATE/],
  '!hidden': ['not-exported', /^libnames\.so\+0x\w+ \(hidden_one\), which the library does not export$/],
  '!static': ['not-exported', /\(static_one\)/],
  '!stack': ['no-module', /^0x7\w+ is in no program or library$/],
  '!heap': ['no-module', /is in no program or library$/],
} as const;

test('OutwardSymbols refuses by name what no loader could find', async t => {
  await withStopped(program, [], live => {
    const symbols = new OutwardSymbols(mappedModules(live.view, program), live.view.memory);
    const pointers = pointersOf(live);
    for (const [what, [why, message]] of Object.entries(refusals)) {
      const found = symbols.resolve(pointers.get(what) ?? 0);
      if (found.kind !== 'refused') return t.fail(`${what} is ${textOf(found)}`);
      t.is(found.why, why);
      t.regex(found.message, message);
    }
    return undefined;
  });
});

test('OutwardSymbols gives a name and version that nm has at that address, for all that libc exports', async t => {
  await withStopped(program, [], live => {
    const modules = mappedModules(live.view, program);
    t.is(modules[0]?.path, program);
    const symbols = new OutwardSymbols(modules, live.view.memory);
    for (const module of modules.filter(({ path }) => /lib(c|m|names)\.so/.test(path))) {
      const expected = nm(module);
      const all = symbols.resolveAll(expected.values());
      let named = 0;
      const refused = new Map<string, number>();
      for (const [i, [name, address]] of [...expected].entries()) {
        const answer = all.answers[all.answerOf[i] ?? -1];
        if (answer?.kind === 'symbol') {
          named++;
          const { symbol, version, addend, library } = answer;
          // A program's copy of data may have the name.
          const at = expected.get(version === undefined ? symbol : `${symbol}@${version}`);
          if (at === undefined || at + addend !== address) t.fail(`${name}: ${library}: ${textOf(answer)}`);
        } else {
          const why = answer?.why ?? '';
          refused.set(why, (refused.get(why) ?? 0) + 1);
        }
      }
      t.log(module.path, named, Object.fromEntries(refused));
      t.true(named > expected.size * 0.7);
      t.deepEqual(
        [...refused.keys()].filter(why => !['ifunc', 'private-version', 'interposed'].includes(why)),
        [],
      );
    }
  });
});

test('OutwardSymbols answers for a hundred thousand pointers at once', async t => {
  await withStopped(program, [], live => {
    const symbols = new OutwardSymbols(mappedModules(live.view, program), live.view.memory);
    const few = [...pointersOf(live).values()];
    const many = Array.from({ length: 100_000 }, (_, i) => few[i % few.length] ?? 0);
    const { answerOf, answers } = symbols.resolveAll(many);
    t.is(answerOf.length, 100_000);
    t.true(answers.length <= few.length);
    for (const i of [0, 1, 99_999]) t.is(answers[answerOf[i] ?? 0], symbols.resolve(many[i] ?? 0));
  });
});

test('OutwardSymbols trusts no file that was replaced meanwhile', async t => {
  const own = join(directory, 'replaced');
  const path = join(own, 'libnames.so');
  execFileSync('mkdir', ['-p', own]);
  copyFileSync(library, path);
  const env = { LD_LIBRARY_PATH: own };
  const changed = join(directory, 'pointers-own');
  compileTo(changed, fixture('pointers.c'), ['-ldl', '-lm', path, '-fno-builtin']);
  await withStopped(
    changed,
    [],
    live => {
      const pointers = pointersOf(live);
      const resolve = () => {
        const symbols = new OutwardSymbols(mappedModules(live.view, changed), live.view.memory);
        return symbols.resolve(pointers.get('names_function') ?? 0);
      };
      t.like(resolve(), { kind: 'symbol', symbol: 'names_function' });
      rmSync(path);
      writeFileSync(join(directory, 'other.c'), 'int names_function(int i) { return i; }');
      compileTo(path, join(directory, 'other.c'), ['-shared', '-fPIC']);
      t.like(resolve(), { kind: 'refused', why: 'unreadable-module' });
      rmSync(path);
      t.like(resolve(), { kind: 'refused', why: 'unreadable-module' });
    },
    env,
  );
  t.is(dirname(path), own);
});
