import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { readElf } from '../../formats/elf/index.ts';
import { readMachO } from '../../formats/macho/index.ts';
import { FileSource } from '../../unexec/file-source.ts';
import {
  clearScratch,
  elfScratchSymbols,
  machoScratchSymbols,
  parseScratch,
  resolveScratch,
  type ScratchSymbols,
  scratchWithin,
} from '../../unexec/scratch.ts';
import { compileTo } from '../support/compile.ts';
import { compileMachO } from '../support/macho/toolchain.ts';
import { sandbox } from '../support/sandbox.ts';

const directory = sandbox('scratch');
const source = join(directory, 'variables.c');
const other = join(directory, 'other.c');
writeFileSync(
  source,
  `#include <stdio.h>
   extern int *other(void);
   long seed = 42;
   static char state[64];
   const char text[] = "constant";
   __thread int per_thread = 1;
   static int twin = 1;
   int last_one[4];
   int main(void) {
     printf("%ld %p %s %d %d %d\\n", seed, (void *)state, text, per_thread, twin, last_one[1] + *other());
     return fflush(stdout);
   }
`,
);
writeFileSync(other, 'static int twin = 2; int *other(void) { return &twin; }');

const program = join(directory, 'variables');
compileTo(program, source, [other, '-O0', '-no-pie', '-fno-pie']);
const elf = (path: string): ScratchSymbols => elfScratchSymbols(readElf(new FileSource(path)));
const symbols = elf(program);
const resolve = (...texts: string[]) => resolveScratch(texts.map(parseScratch), symbols);

/** name -> [address, size], by nm. */
const nm = new Map(
  [
    ...execFileSync('nm', ['-S', program], { encoding: 'utf8' }).matchAll(/^(\w{16}) (\w{16}) \w (\S+)$/gm),
  ].map(([, address, size, name = '']) => [
    name,
    { address: BigInt(`0x${address}`), size: Number(`0x${size}`) },
  ]),
);

test('parseScratch() takes a symbol, an offset and a size', t => {
  t.like(parseScratch('seed'), { symbol: 'seed', offset: 0, size: undefined });
  t.like(parseScratch('state+16'), { symbol: 'state', offset: 16, size: undefined });
  t.like(parseScratch('state+0x10:8'), { symbol: 'state', offset: 16, size: 8 });
  t.like(parseScratch('_ZN1a1bE:0x20'), { symbol: '_ZN1a1bE', offset: 0, size: 32 });
  t.like(parseScratch('stdout@GLIBC_2.2.5'), { symbol: 'stdout@GLIBC_2.2.5' });
});

for (const text of [
  '',
  '+8',
  ':8',
  'seed:',
  'seed:0',
  'seed+',
  'seed+x',
  'seed:8+8',
  'seed:-1',
  `seed:${'9'.repeat(30)}`,
]) {
  test(`parseScratch() refuses ${JSON.stringify(text)}`, t => {
    const error = t.throws(() => parseScratch(text), { code: 'BAD_SCRATCH' });
    t.true(error?.message.startsWith(`--scratch ${text}:`));
  });
}

test('resolveScratch() finds variables where nm finds them', t => {
  for (const name of ['seed', 'state', 'last_one']) {
    const { address = 0n, size = 0 } = nm.get(name) ?? {};
    t.deepEqual(resolve(name), [{ address, size, name }]);
  }
  const { address = 0n, size = 0 } = nm.get('state') ?? {};
  t.deepEqual(resolve('state+0x10'), [{ address: address + 16n, size: size - 16, name: 'state+0x10' }]);
  t.deepEqual(resolve('state+0x10:8'), [{ address: address + 16n, size: 8, name: 'state+0x10' }]);
});

test('resolveScratch() finds data that was copied from a library, with and without its version', t => {
  const [copied] = resolve('stdout');
  t.is(copied?.size, 8);
  t.is(resolve('stdout@GLIBC_2.2.5')[0]?.address, copied?.address);
});

test('resolveScratch() joins what overlaps, in the order of addresses', t => {
  const { address = 0n } = nm.get('state') ?? {};
  const ranges = resolve('state+8:16', 'seed', 'state:10', 'state+40:4');
  t.deepEqual(
    ranges.filter(range => range.address >= address && range.address < address + 64n),
    [
      { address, size: 24, name: 'state, state+0x8' },
      { address: address + 40n, size: 4, name: 'state+0x28' },
    ],
  );
  t.is(ranges.length, 3);
});

const faults = {
  nothing: ['SCRATCH_NOT_FOUND', /no symbol nothing/],
  twin: ['SCRATCH_AMBIGUOUS', /2 symbols twin, at 0x\w+, 0x\w+$/],
  main: ['SCRATCH_NOT_DATA', /main is a function/],
  text: ['SCRATCH_NOT_DATA', /text is not in writable memory/],
  per_thread: ['SCRATCH_NOT_DATA', /per_thread is thread-local/],
  puts: ['SCRATCH_NOT_FOUND', /no symbol puts/],
  'seed+8': ['SCRATCH_BEYOND_END', /bytes 8 to 9 of seed, of which there are 8/],
  'seed:1000000': ['SCRATCH_BEYOND_END', /bytes 0 to 1000000 of seed/],
  __data_start: ['SCRATCH_SIZE_NEEDED', /does not say how large __data_start is/],
} as const;
for (const [text, [code, message]] of Object.entries(faults)) {
  test(`resolveScratch() refuses ${text}: ${code}`, t => {
    t.throws(() => resolve(text), { code, message });
  });
}

test('resolveScratch() says that a file is stripped', t => {
  const stripped = join(directory, 'stripped');
  execFileSync('strip', ['-o', stripped, program]);
  const error = t.throws(() => resolveScratch([parseScratch('seed')], elf(stripped)), {
    code: 'SCRATCH_NOT_FOUND',
  });
  t.like(error, { hint: 'the file is stripped: give the one with its symbols' });
  t.is(resolveScratch([parseScratch('stdout')], elf(stripped))[0]?.size, 8);
});

test('clearScratch() zeroes what of a range is scratch, and scratchWithin() says where', t => {
  const scratch = [
    { address: 0x100n, size: 8, name: 'a' },
    { address: 0x110n, size: 100, name: 'b' },
  ];
  const bytes = new Uint8Array(32).fill(1);
  clearScratch(bytes, 0x104n, scratch);
  t.deepEqual([...bytes], [...Array(4).fill(0), ...Array(8).fill(1), ...Array(20).fill(0)]);
  t.deepEqual(scratchWithin(0x104n, 32, scratch), [
    { start: 0, end: 4 },
    { start: 12, end: 32 },
  ]);
  t.deepEqual(scratchWithin(0x200n, 32, scratch), []);
});

test('resolveScratch() finds variables of a Mach-O program, whose symbols have no sizes', t => {
  const path = compileMachO({
    sources: ['samples/restart/tables.c', 'unexec/runtime/unexec-runtime.c'],
    arch: 'arm64',
    fixups: 'chained',
    directory,
    name: 'tables',
  });
  const file = machoScratchSymbols(readMachO(new FileSource(path)));
  const lines = execFileSync('llvm-nm-19', ['-n', path], { encoding: 'utf8' });
  const variables = [...lines.matchAll(/^(\w{16}) ([dDbBsS]) (_\S+)$/gm)].map(([, address, , name = '']) => ({
    name,
    address: BigInt(`0x${address}`),
  }));
  const writable = variables.filter(({ name }) => file.named(name)[0]?.notData === undefined);
  t.true(writable.length > 3);
  for (const { name, address } of writable) {
    const [range] = resolveScratch([parseScratch(`${name.slice(1)}:4`)], file);
    t.deepEqual(range, { address, size: 4, name });
    const next = variables.find(variable => variable.address > address);
    const [whole] = resolveScratch([parseScratch(name.slice(1))], file);
    t.true(whole !== undefined && whole.size > 0);
    if (next !== undefined) t.true(address + BigInt(whole?.size ?? 0) <= next.address);
  }
  t.throws(() => resolveScratch([parseScratch('main')], file), { code: 'SCRATCH_NOT_DATA' });
});
