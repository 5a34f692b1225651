import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { hex } from '../../../formats/errors.ts';
import { readFixups, readMachO, segmentsOf } from '../../../formats/macho/index.ts';
import { findReserve } from '../../../unexec/macho/reserve.ts';
import { prepare } from '../../../unexec/prepare.ts';
import { restart } from '../../../unexec/restart.ts';
import { unexec_reserve } from '../../../unexec/zones/reserve.ts';
import { MIB, prepared, RUNTIME_SOURCE, takeCore } from '../../support/macho/dump.ts';
import { Editor } from '../../support/macho/edit.ts';
import { judgeMachO } from '../../support/macho/judge.ts';
import { runMachO } from '../../support/macho/loader.ts';
import { compileMachO } from '../../support/macho/toolchain.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('add-reserve');

/** A program with so many segments beside those that every program has, and a list on its heap. */
function source(segments: number): string {
  const variables = Array.from(
    { length: segments },
    (_, i) => `__attribute__((section("__SEG${i},__numbers"))) int number${i} = ${i};`,
  );
  const path = join(directory, `segments-${segments}.c`);
  const text = `#include "unexec.h"
#include <stdio.h>
#include <stdlib.h>
${variables.join('\n')}
struct entry { struct entry *next; } *first;
int main(void) {
  struct unexec_args args;
  int count = 0;
  for (struct entry *e = first; e != NULL; e = e->next) count++;
  for (int i = 0; i < 10; i++) {
    struct entry *e = malloc(sizeof *e);
    e->next = first, first = e;
  }
  printf("%d %d\\n", count, number${segments - 1}++);
  fflush(stdout);
  unexec_freeze(&args);
  return 0;
}
`;
  writeFileSync(path, text);
  return path;
}

/** __PAGEZERO, __TEXT, __DATA_CONST, __DATA and __LINKEDIT come to these. */
for (const [segments, fixups, mode] of [
  [11, 'dyld-info', 'segment'],
  [12, 'dyld-info', 'extend'],
  [12, 'chained', 'segment'],
] as const) {
  test(`prepare() gives a program of ${segments + 5} segments a reserve that ${fixups} fixups can name: ${mode}`, async t => {
    const path = compileMachO({
      sources: [source(segments), RUNTIME_SOURCE],
      arch: 'x86_64',
      fixups,
      headerpad: 0x1000,
      directory,
      name: `segments-${segments}-${fixups}`,
    });
    t.is((await prepare(path, path, { reserve: MIB })).mode, mode);
    t.is(segmentsOf(readMachO(new Editor(path).bytes)).length, segments + (mode === 'segment' ? 6 : 5));
    const core = await takeCore(path, { arch: 'x86_64' });
    const target = `${path}.restart`;
    await restart(core, target, { exe: path });
    await judgeMachO(target);
    t.deepEqual(rebasesByLlvm(target, fixups), rebasesOf(target));
    t.is((await runMachO(target, [], { arch: 'x86_64' })).stdout, `10 ${segments}\n`);
  });
}

const rebasesOf = (path: string): string[] =>
  [...readFixups(readMachO(new Editor(path).bytes)).rebases].map(({ address }) => hex(address));

/** Where LLVM sees them: it counts from the first section of a segment. */
const rebasesByLlvm = (path: string, fixups: 'dyld-info' | 'chained'): string[] =>
  execFileSync('llvm-objdump-19', ['--macho', fixups === 'chained' ? '--dyld-info' : '--rebase', path], {
    encoding: 'utf8',
  })
    .split('\n')
    .filter(line => fixups === 'dyld-info' || / rebase /.test(line))
    .flatMap(line => {
      const [, address] = /^__\S+ +\S+ +(0x[0-9A-F]+)/.exec(line) ?? [];
      return address === undefined ? [] : [address.toLowerCase()];
    });

test('the size of a reserve is no pointer, even where it is an address of the program', async t => {
  for (const extend of [false, true]) {
    // 4 GiB, where x86_64 programs begin that do not slide.
    const program = { sources: [source(1)], arch: 'x86_64', fixups: 'dyld-info', headerpad: 0x400 } as const;
    const path = await prepared(
      { ...program, directory, name: `large-${extend}` },
      { reserve: 2 ** 32, extend },
    );
    const target = `${path}.restart`;
    await restart(await takeCore(path, { arch: 'x86_64', slide: 0n }), target, { exe: path });
    const { stdout } = await runMachO(target, [], { arch: 'x86_64', slide: 0x7_0000n });
    t.is(stdout, '10 1\n');
    const { address = 0n } = findReserve(readMachO(new Editor(target).bytes)) ?? {};
    const words = ['offset', 'size', 'start'] as const;
    const slots = words.map(field => hex(address + BigInt(unexec_reserve.offsets[field])));
    t.deepEqual(
      rebasesOf(target).filter(slot => slots.includes(slot)),
      slots.slice(2),
    );
  }
});
