import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { readElf } from '../../formats/elf/index.ts';
import { readMachO, readNotes, verifyMachO } from '../../formats/macho/index.ts';
import { prepare } from '../../unexec/prepare.ts';
import { restart } from '../../unexec/restart.ts';
import { verifyFile } from '../../unexec/verify-file.ts';
import { verifyElfReserve, verifyMachOReserve } from '../../unexec/verify-reserve.ts';
import {
  BLOCKS_OFFSET,
  NOTES_OFFSET,
  RESERVE_MAGIC,
  unexec_zone_header,
} from '../../unexec/zones/reserve.ts';
import { unexec } from '../support/command.ts';
import { runMachO } from '../support/macho/loader.ts';
import { compileMachO } from '../support/macho/toolchain.ts';
import { ROOT, sandbox } from '../support/sandbox.ts';

const directory = sandbox('verify-reserve');
const inSandbox = (name: string): string => join(directory, name);
const arch = 'x86_64';

test.before(async () => {
  const sources = ['samples/restart/world.c', 'unexec/runtime/unexec-runtime.c'];
  const program = compileMachO({
    ...{ sources, arch, fixups: 'chained', directory, headerpad: 0x200, signed: false },
    name: 'plain',
  });
  await prepare(program, inSandbox('prepared'), { reserve: 1 << 20 });
  await runMachO(inSandbox('prepared'), ['2'], { arch, at: 'unexec_freeze_here', core: inSandbox('core') });
  await restart(inSandbox('core'), inSandbox('dumped'), { exe: inSandbox('prepared') });
});

const bytesOf = (name: string): Uint8Array => new Uint8Array(readFileSync(inSandbox(name)));

test('verifyFile() tells what unexec has done to a Mach-O program, and that it is sound', t => {
  for (const [name, kind] of [
    ['plain', 'executable'],
    ['prepared', 'executable, prepared by unexec'],
    ['dumped', 'executable, dumped by unexec'],
    ['core', 'core'],
  ] as const) {
    const { what, findings } = verifyFile(inSandbox(name));
    t.deepEqual([what, findings], [[`Mach-O x86_64 ${kind}`], []], name);
  }
});

/** Where the reserve begins in the dumped file. */
function baseIn(bytes: Uint8Array): number {
  const [note] = readNotes(readMachO(bytes)).filter(({ owner }) => owner === 'unexec');
  if (note === undefined) throw new Error('there is no LC_NOTE');
  return note.offset - NOTES_OFFSET;
}

type Spoil = (bytes: Uint8Array, base: number) => void;
const field =
  (name: keyof typeof unexec_zone_header.offsets, value: number): Spoil =>
  (bytes, base) =>
    Buffer.from(bytes.buffer).writeUInt32LE(value, base + unexec_zone_header.offsets[name]);
const text =
  (was: string, is: string): Spoil =>
  bytes => {
    const at = Buffer.from(bytes.buffer).indexOf(was);
    if (at < 0) throw new Error(`there is no ${was}`);
    bytes.set(new TextEncoder().encode(is), at);
  };

const faults: readonly (readonly [what: string, message: RegExp, spoil: Spoil])[] = [
  ['a zone of another size', /size is \d+, expected/, field('size', 5)],
  ['a zone that is no zone', /header of the program's zone is damaged: magic/, field('magic', 5)],
  ['a zone that has lost blocks', /7 bytes are allocated outside/, field('overflow', 7)],
  ['another generation', /generation in its manifest is 1, expected 5/, field('generation', 5)],
  ['another style', /style in its manifest is "restorf"/, text('"style":"restart"', '"style":"restorf"')],
  ['another machine', /machine in its manifest is "x86_65"/, text('"arch":"x86_64"', '"arch":"x86_65"')],
  ['a manifest that is none', /manifest: SyntaxError/, text('{"version"', '[}version"')],
  [
    'no notes',
    /it has no manifest/,
    (bytes, base) => bytes.fill(0, base + NOTES_OFFSET, base + BLOCKS_OFFSET),
  ],
  [
    'bytes beyond the high-water mark',
    /expected zeros beyond the high-water mark/,
    field('high_water', BLOCKS_OFFSET),
  ],
  [
    'an LC_NOTE that leads elsewhere',
    /LC_NOTE leads to 0x/,
    (bytes, base) => {
      const place = Buffer.alloc(8);
      place.writeBigUInt64LE(BigInt(base + NOTES_OFFSET));
      bytes[Buffer.from(bytes.buffer).indexOf(place)] = 8;
    },
  ],
  [
    'a reserve outside of the program',
    /expected the end of a writable segment/,
    bytes => {
      const at = Buffer.from(bytes.buffer).indexOf(RESERVE_MAGIC);
      Buffer.from(bytes.buffer).writeBigInt64LE(0x7000_0000n, at + 16);
    },
  ],
  [
    'two reserves',
    /struct unexec_reserve, at .* expected one/,
    (bytes, base) => bytes.set(RESERVE_MAGIC, base + 0x8000),
  ],
];
for (const [what, message, spoil] of faults) {
  test(`verifyMachOReserve() finds ${what}`, t => {
    const bytes = bytesOf('dumped').slice();
    t.deepEqual(verifyMachOReserve(readMachO(bytes)).findings, []);
    spoil(bytes, baseIn(bytes));
    const { findings } = verifyMachOReserve(readMachO(bytes));
    t.regex(findings.map(finding => finding.message).join('\n'), message);
    t.true(findings.every(({ code, severity }) => code === 'UNEXEC_IMAGE' && severity === 'error'));
    const path = inSandbox('spoiled');
    writeFileSync(path, bytes);
    t.true(verifyFile(path).findings.some(({ code }) => code === 'UNEXEC_IMAGE'));
  });
}

test('verifyElfReserve() knows what unexec has done to an ELF program, and whether it is sound', async t => {
  const sources = ['samples/restart/world.c', 'unexec/runtime/unexec-runtime.c'].map(file =>
    join(ROOT, file),
  );
  const [program, ready, dumped] = [inSandbox('elf'), inSandbox('elf-prepared'), inSandbox('elf-dumped')];
  execFileSync('gcc', ['-O1', '-I', join(ROOT, 'unexec/runtime'), '-o', program, ...sources]);
  await prepare(program, ready, { reserve: 1 << 20 });
  const { status, stderr } = await unexec(['--style', 'restart', '-q', ready, dumped, '--', '2']);
  t.is(status, 0, stderr);
  for (const [path, kind] of [
    [program, ''],
    [ready, ', prepared by unexec'],
    [dumped, ', dumped by unexec'],
  ] as const) {
    const { what, findings } = verifyFile(path);
    t.deepEqual([what, findings], [[`ELF x86_64 position-independent executable${kind}`], []]);
  }

  const spoiled = (spoil: (bytes: Buffer) => void): string => {
    const bytes = readFileSync(dumped);
    spoil(bytes);
    const { findings } = verifyElfReserve(readElf(new Uint8Array(bytes)));
    return findings.map(({ message }) => message).join('\n');
  };
  t.is(
    spoiled(() => {}),
    '',
  );
  const generation = (bytes: Buffer): number =>
    bytes.indexOf('unexec zone 1\0') + unexec_zone_header.offsets.generation;
  t.regex(
    spoiled(bytes => bytes.writeUInt32LE(7, generation(bytes))),
    /is 1, expected 7 as the zone has/,
  );
  t.regex(
    spoiled(bytes => bytes.writeBigInt64LE(0x7000_0000n, bytes.indexOf(RESERVE_MAGIC) + 16)),
    /expected within a PT_LOAD/,
  );
});

test('verifyMachO() finds a byte of a signed dump that has changed', async t => {
  const sources = ['samples/restart/world.c', 'unexec/runtime/unexec-runtime.c'];
  const program = compileMachO({ sources, arch: 'arm64', fixups: 'chained', directory, name: 'arm' });
  await prepare(program, inSandbox('arm-prepared'), { reserve: 1 << 20 });
  const bytes = bytesOf('arm-prepared');
  bytes[0x5000] = (bytes[0x5000] ?? 0) ^ 1;
  const sha256 = (data: Uint8Array): Uint8Array => createHash('sha256').update(data).digest();
  t.deepEqual(
    verifyMachO(readMachO(bytes), sha256).map(({ code }) => code),
    ['MACHO_PAGE_HASH'],
  );
});
