import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import test from 'ava';
import { restart } from '../../../../unexec/restart.ts';
import { MIB, prepared, takeCore } from '../../../support/macho/dump.ts';
import type { MachOProgram } from '../../../support/macho/toolchain.ts';
import { sandbox } from '../../../support/sandbox.ts';

const directory = sandbox('restart-macho-refused');
const base: MachOProgram = {
  sources: ['samples/restart/world.c'],
  arch: 'x86_64',
  fixups: 'dyld-info',
  directory,
};
const constructors = 'samples/restart/constructors.c';
const SLIDE = 0x12_0000_4000n;

test('a zone that is full is refused, and the target stays as it was', async t => {
  const program = await prepared({ ...base, name: 'full' }, { reserve: 0x10000 });
  const target = `${program}.restart`;
  const core = await takeCore(program, { arch: 'x86_64' });
  await t.throwsAsync(restart(core, target, { exe: program }), {
    code: 'ZONE_OVERFLOW',
    message: /^\d+ bytes are allocated outside the reserve of 65536 bytes/,
  });
  t.false(existsSync(target));
  writeFileSync(target, 'as it was');
  await t.throwsAsync(restart(core, target, { exe: program }), { code: 'ZONE_OVERFLOW' });
  t.is(readFileSync(target, 'utf8'), 'as it was');
});

/** Of fields in struct unexec_zone_header (unexec/runtime/zone.h). */
const SIZE = 16;
const HIGH_WATER = 24;
const USED = 32;
const BUSY = 64;

/** Offset of the zone's header; the program's code has its magic as well. */
function zoneIn(image: Buffer, size: number): number {
  const magic = 'unexec zone 1\0\0\0';
  for (let at = image.indexOf(magic); at >= 0; at = image.indexOf(magic, at + 1)) {
    if (image.readBigUInt64LE(at + SIZE) === BigInt(size)) return at;
  }
  throw new Error('the core has no zone');
}

test('a zone in the middle of an allocation, or with a damaged header, is refused', async t => {
  const program = await prepared({ ...base, name: 'damaged' });
  const core = await takeCore(program, { arch: 'x86_64' });
  const image = readFileSync(core);
  const zone = zoneIn(image, 4 * MIB);
  for (const [code, at, value] of [
    ['ZONE_BUSY', BUSY, 1],
    ['ZONE_DAMAGED', SIZE, 0x4000],
    ['ZONE_DAMAGED', HIGH_WATER, 64 * MIB],
    ['ZONE_DAMAGED', HIGH_WATER, 16],
    ['ZONE_DAMAGED', USED, 64 * MIB],
    ['ZONE_DAMAGED', 0, 7],
  ] as const) {
    const spoiled = Buffer.from(image);
    spoiled.writeUInt32LE(value, zone + at);
    writeFileSync(`${core}.spoiled`, spoiled);
    await t.throwsAsync(
      restart(`${core}.spoiled`, `${program}.restart`, { exe: program }),
      { code },
      `${at}`,
    );
  }
});

test('a core of another program is refused', async t => {
  const program = await prepared({ ...base, name: 'right' });
  const other = await prepared({ ...base, sources: [constructors], name: 'wrong' });
  const core = await takeCore(program, { arch: 'x86_64' });
  await t.throwsAsync(restart(core, `${program}.restart`, { exe: other }), { code: 'NOT_THIS_EXECUTABLE' });
  const again = await prepared({ ...base, headerpad: 0x400, name: 'right' });
  await t.throwsAsync(restart(core, `${program}.restart`, { exe: again }), { code: 'NOT_THIS_EXECUTABLE' });
});

test('two runs at the same address are refused', async t => {
  const program = await prepared({ ...base, name: 'same' });
  const loader = { arch: 'x86_64', slide: SLIDE } as const;
  const [core, compare] = [await takeCore(program, loader), await takeCore(program, loader)];
  await t.throwsAsync(restart(core, `${program}.restart`, { exe: program, compare }), {
    code: 'SAME_ADDRESSES',
  });
});
