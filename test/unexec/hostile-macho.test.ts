/** What a Mach-O executable and its core say may be anything: it is refused by name, and an old target stays. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { FormatError } from '../../formats/errors.ts';
import { UnexecError } from '../../unexec/errors.ts';
import { prepare } from '../../unexec/prepare.ts';
import { restart } from '../../unexec/restart.ts';
import { verifyFile } from '../../unexec/verify-file.ts';
import { unexec_reserve, unexec_zone_header } from '../../unexec/zones/reserve.ts';
import { MIB, prepared, RUNTIME_SOURCE, takeCore } from '../support/macho/dump.ts';
import { Editor, SECTION, SEGMENT } from '../support/macho/edit.ts';
import { compileMachO } from '../support/macho/toolchain.ts';
import { sandbox } from '../support/sandbox.ts';

const directory = sandbox('hostile-macho');
const program = {
  sources: ['samples/restart/constructors.c'],
  arch: 'x86_64',
  fixups: 'dyld-info',
  directory,
  headerpad: 0x400,
  signed: false,
} as const;
const LC_UUID = 0x1b;

/** A program and a core of it, made once. */
const made = (async () => {
  const path = await prepared({ ...program, name: 'program' });
  return { path, core: await takeCore(path, { arch: 'x86_64' }) };
})();

/** Writes a number over what is at a place of the header, or of a struct, in the executable and in memory. */
type Spoil = (
  put: { header(at: number, value: bigint): void; at(magic: string, offset: number, value: bigint): void },
  file: Editor,
) => void;

let count = 0;

async function spoiled(spoil: Spoil): Promise<{ exe: string; core: string }> {
  const { path, core } = await made;
  const name = join(directory, `spoiled-${++count}`);
  const exe = new Editor(path);
  const bytes = [Buffer.from(exe.bytes), readFileSync(core)];
  const uuidAt = exe.command(LC_UUID) + 8;
  const uuid = exe.bytes.slice(uuidAt, uuidAt + 16);
  const write = (needle: Uint8Array | string, offset: number, value: bigint): void => {
    for (const file of bytes)
      for (let at = file.indexOf(needle); at >= 0; at = file.indexOf(needle, at + 1))
        file.writeBigUInt64LE(value, at + offset);
  };
  spoil(
    {
      header: (at, value) => write(uuid, at - uuidAt, value),
      at: (magic, offset, value) => write(magic, offset, value),
    },
    exe,
  );
  const [changed, memory] = bytes;
  writeFileSync(name, changed ?? '');
  writeFileSync(`${name}.core`, memory ?? '');
  return { exe: name, core: `${name}.core` };
}

const RESERVE = 'unexec reserve 1';
/** With its NUL: the runtime has the name in its code as well. */
const ZONE = 'unexec zone 1\0\0\0';

const refused: readonly (readonly [what: string, code: string, message: RegExp, spoil: Spoil])[] = [
  [
    'a section of 2^60 constructors',
    'MACHO_BAD_SECTION',
    /__mod_init_func is 0x8000000000000000 bytes at 0x\w+, expected to be within/,
    (put, file) => put.header(file.section('__mod_init_func') + SECTION.size, 2n ** 63n),
  ],
  [
    'a reserve outside of every segment',
    'RESERVE_DAMAGED',
    /says that the reserve is 0x\w+ to 0x\w+, expected the end of a writable segment/,
    put => put.at(RESERVE, unexec_reserve.offsets.offset, 2n ** 62n),
  ],
  [
    'a reserve below the address 0',
    'RESERVE_DAMAGED',
    /expected the end of a writable segment/,
    put => put.at(RESERVE, unexec_reserve.offsets.offset, 2n ** 63n),
  ],
  [
    'a reserve of 2^63 bytes',
    'RESERVE_DAMAGED',
    /has size 0x8000000000000000, expected a multiple of 0x4000/,
    put => put.at(RESERVE, unexec_reserve.offsets.size, 2n ** 63n),
  ],
  [
    'a reserve that ends before its segment does',
    'RESERVE_DAMAGED',
    /expected the end of a writable segment/,
    put => put.at(RESERVE, unexec_reserve.offsets.size, BigInt(2 * MIB)),
  ],
  [
    'a constructor of the runtime that is none',
    'RUNTIME_DAMAGED',
    /the constructor that starts it \(at 0x1000\) is in no section of constructors/,
    put => put.at(RESERVE, unexec_reserve.offsets.start, 0x1000n),
  ],
  [
    'a zone that has used more than there is',
    'ZONE_DAMAGED',
    /high_water is 9223372036854775808, expected 16384 to 4194304/,
    put => put.at(ZONE, unexec_zone_header.offsets.high_water, 2n ** 63n),
  ],
  [
    'a zone of pages that no machine has',
    'ZONE_DAMAGED',
    /page_size is 0, expected 4096, 16384 or 65536/,
    put => put.at(ZONE, unexec_zone_header.offsets.page_size, 0n),
  ],
  [
    'data of 2^63 bytes',
    'BAD_RANGES',
    /__DATA: \d+ bytes at 0x\w+, expected addresses below 2\^48/,
    (put, file) => put.header(file.segment('__DATA') + SEGMENT.vmsize, 2n ** 63n),
  ],
];

for (const [what, code, message, spoil] of refused) {
  test(`restart() refuses ${what}: ${code}`, async t => {
    const { exe, core } = await spoiled(spoil);
    const target = `${exe}.out`;
    writeFileSync(target, 'as it was');
    const error: unknown = await t.throwsAsync(restart(core, target, { exe }));
    if (!(error instanceof UnexecError) && !(error instanceof FormatError)) throw error;
    t.is(error.code, code, error.message);
    t.regex(error.message, message);
    t.is(readFileSync(target, 'utf8'), 'as it was');
  });
}

test('prepare() refuses a section of 2^60 constructors', async t => {
  const path = compileMachO({
    ...program,
    sources: [...program.sources, RUNTIME_SOURCE],
    name: 'unprepared',
  });
  const file = new Editor(path);
  file.view.setBigUint64(file.section('__mod_init_func') + SECTION.size, 2n ** 63n, true);
  file.save(path);
  await t.throwsAsync(prepare(path, `${path}.out`, { reserve: MIB }), {
    instanceOf: FormatError,
    code: 'MACHO_BAD_SECTION',
  });
});

test('prepare(), restart() and verifyFile() refuse what is no file, and do not wait for a pipe', async t => {
  const { core } = await made;
  const pipe = join(directory, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const target = join(directory, 'never');
  for (const path of [pipe, directory]) {
    const said = { instanceOf: UnexecError, code: 'FILE_UNREADABLE', message: /it is no regular file$/ };
    await t.throwsAsync(prepare(path, target, { reserve: MIB }), said);
    await t.throwsAsync(restart(core, target, { exe: path }), said);
    await t.throwsAsync(restart(core, target, { exe: (await made).path, compare: path }), said);
    t.throws(() => verifyFile(path), said);
  }
  t.false(existsSync(target));
});
