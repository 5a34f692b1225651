/** An address leads to what readelf and the bytes of the file say is there. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { elfBytes } from '../../../formats/elf/index.ts';
import { followAddress, readManifest, UnexecError } from '../../../unexec/index.ts';
import { core } from '../../formats/elf/support/core.ts';
import { compile, output } from '../../formats/elf/support/tools.ts';
import { fat, linked } from '../../formats/macho/support/tools.ts';
import { freezeProgram } from '../../support/freeze-program.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('address');

test('followAddress() leads to section, symbol, offset and bytes', t => {
  const path = compile(
    'char text[64] = "what is looked for"; char zeros[64]; int main(void) { return text[0] + zeros[0]; }',
    ['-no-pie'],
  );
  const symbol = (name: string): bigint =>
    BigInt(`0x${new RegExp(`: (\\S{16}) .* ${name}$`, 'm').exec(output('readelf', ['-sW', path]))?.[1]}`);
  const [place] = followAddress(path, symbol('text') + 8n).places;
  t.like(place, {
    section: { name: '.data' },
    segment: { name: 'PT_LOAD' },
    protection: 'rw-',
    backing: 'file',
  });
  t.deepEqual(place?.symbol, { name: 'text', offset: 8 });
  t.is(readFileSync(path).toString('latin1', place?.offset ?? 0, (place?.offset ?? 0) + 6), 'looked');
  t.true(
    place?.bytes
      .map(({ text }) => text)
      .join('')
      .includes('what is looked for'),
  );
  const line = place?.bytes.find(({ text }) => text.startsWith('what is'));
  t.true(line?.hex.startsWith('77 68 61 74 20 69 73'));
  t.is(BigInt(line?.address ?? 0), symbol('text'));

  const [zero] = followAddress(path, symbol('zeros') + 1n).places;
  t.like(zero, {
    section: { name: '.bss' },
    backing: 'zero',
    offset: null,
    symbol: { name: 'zeros', offset: 1 },
  });
});

test('followAddress() tells the region of a frozen process', async t => {
  const { path } = await freezeProgram('/usr/bin/perl', join(directory, 'frozen'), {
    args: ['-e', 'kill STOP => $$'],
    at: 'stop',
  });
  const heap = readManifest(path).regions.find(({ kind }) => kind === 'heap');
  const [place] = followAddress(path, BigInt(heap?.start ?? 0) + 0x20n).places;
  t.deepEqual(place?.region, { kind: 'heap', name: '[heap]', address: heap?.start as `0x${string}` });
  t.is(place?.section?.name, 'heap.rw-');
  t.true((place?.bytes.length ?? 0) > 4);
});

test('followAddress() tells bytes that a core left out as absent', t => {
  const path = join(directory, 'core');
  writeFileSync(path, elfBytes(core([new Uint8Array(0x1000).fill(7)])));
  const [place] = followAddress(path, 0x10001000n).places;
  t.like(place, { backing: 'absent', offset: null });
  t.true(place?.bytes[0]?.hex.startsWith('07 07'));
  t.true(place?.bytes.at(-1)?.hex.startsWith('?? ??'));
});

test('followAddress() leads into every slice of a fat file that has the address', t => {
  const path = fat(
    linked({ arch: 'x86_64', fixups: 'dyld-info' }),
    linked({ arch: 'arm64', fixups: 'chained' }),
  );
  const { places } = followAddress(path, 0x1_0000_0000n);
  t.deepEqual(
    places.map(({ arch, what }) => [arch, what]),
    [
      ['x86_64', 'header Mach-O header'],
      ['arm64', 'header Mach-O header'],
    ],
  );
  for (const { bytes } of places) t.true(bytes[0]?.hex.startsWith('cf fa ed fe'));
});

test('followAddress() refuses an address that is not there, and says what is near', t => {
  const error = t.throws(() => followAddress('/bin/true', 0xdead_0000_0000n), { instanceOf: UnexecError });
  t.is(error.code, 'ADDRESS_NOT_IN_FILE');
  t.regex(error.hint ?? '', /ends at 0x/);
  const none = t.throws(() => followAddress(compile('int f;', ['-c']), 0n), { instanceOf: UnexecError });
  t.regex(none.hint ?? '', /relocatable has no addresses/);
});
