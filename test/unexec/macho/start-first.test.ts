import { readFileSync } from 'node:fs';
import test from 'ava';
import { readMachO } from '../../../formats/macho/index.ts';
import { bytesSource } from '../../../formats/source.ts';
import { findReserve } from '../../../unexec/macho/reserve.ts';
import { putStartFirst } from '../../../unexec/macho/start-first.ts';
import { prepare } from '../../../unexec/prepare.ts';
import { MIB, RUNTIME_SOURCE } from '../../support/macho/dump.ts';
import { judgeMachO } from '../../support/macho/judge.ts';
import { runMachO } from '../../support/macho/loader.ts';
import { compileMachO, type MachOProgram } from '../../support/macho/toolchain.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('start-first');
const FIXTURE = 'test/fixtures/runtime/order.c';

const variants: readonly Omit<MachOProgram, 'sources'>[] = [
  { arch: 'x86_64', fixups: 'dyld-info' },
  { arch: 'x86_64', fixups: 'dyld-info', pie: false },
  { arch: 'x86_64', fixups: 'chained' },
  { arch: 'arm64', fixups: 'dyld-info' },
  { arch: 'arm64', fixups: 'chained' },
  { arch: 'x86_64', fixups: 'dyld-info', initOffsets: true },
  { arch: 'arm64', fixups: 'chained', initOffsets: true },
];

const reserveOf = (path: string) => {
  const file = readMachO(bytesSource(new Uint8Array(readFileSync(path))));
  const reserve = findReserve(file);
  if (reserve === undefined) throw new Error(`${path}: no reserve`);
  return { file, reserve };
};

for (const [number, variant] of variants.entries()) {
  const how = `${variant.pie === false ? ', no PIE' : ''}${variant.initOffsets ? ', offsets' : ''}`;
  test(`the runtime's constructor goes before all others, which keep their order: ${variant.arch}, ${variant.fixups}${how}`, async t => {
    const program = { ...variant, directory, name: `late${number}`, headerpad: 0x400 };
    const late = compileMachO({ ...program, sources: [FIXTURE, RUNTIME_SOURCE] });
    await prepare(late, `${late}.prepared`, { reserve: MIB });
    await judgeMachO(`${late}.prepared`);
    const { stdout, status } = await runMachO(`${late}.prepared`, [], variant);
    t.deepEqual([stdout, status], ['first second third: 3 inside\n', 0]);

    const { file, reserve } = reserveOf(late);
    t.is(putStartFirst(file, reserve), 3);
    t.is(putStartFirst(file, reserve), 0, 'it is the first one now');
  });
}

test('a constructor that is the first one already stays where it is', t => {
  const sources = [RUNTIME_SOURCE, FIXTURE];
  const early = compileMachO({ sources, arch: 'x86_64', fixups: 'chained', directory, name: 'early' });
  const { file, reserve } = reserveOf(early);
  const before = file.commands.map(command => ('contents' in command ? command.contents : undefined));
  t.is(putStartFirst(file, reserve), 0);
  t.deepEqual(
    file.commands.map(command => ('contents' in command ? command.contents : undefined)),
    before,
  );
});
