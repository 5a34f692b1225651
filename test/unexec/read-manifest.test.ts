import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { addSection, ET, elfBytes, encodeNotes, newElf, newSection, SHT } from '../../formats/elf/index.ts';
import { FormatError, readManifest, UnexecError, VERSION } from '../../unexec/index.ts';
import { freezeProgram } from '../support/freeze-program.ts';
import { sandbox } from '../support/sandbox.ts';

const directory = sandbox('manifest');

test('readManifest() tells what was frozen, where and by what', async t => {
  const path = join(directory, 'frozen');
  const args = ['-e', 'kill STOP => $$'];
  const { report } = await freezeProgram('/usr/bin/perl', path, { args, at: 'stop' });
  const manifest = readManifest(path);
  t.like(manifest, { program: '/usr/bin/perl', freezePoint: 'stop', style: 'resume', tool: VERSION });
  t.deepEqual(manifest.argv, ['/usr/bin/perl', ...args]);
  t.is(manifest.threads.length, report.threads);
  t.true(manifest.regions.some(({ kind, name }) => kind === 'heap' && name === '[heap]'));
  t.true(Math.abs(Date.parse(manifest.frozenAt) - Date.now()) < 60_000);
});

test('readManifest() refuses a program that unexec did not write', t => {
  t.throws(() => readManifest('/bin/true'), { instanceOf: UnexecError, code: 'NO_MANIFEST' });
});

test('readManifest() refuses what is no ELF file', t => {
  const path = join(directory, 'text');
  writeFileSync(path, 'no ELF file at all, but long enough to be one: '.repeat(4));
  t.throws(() => readManifest(path), { instanceOf: FormatError });
});

for (const [title, json, code] of [
  ['of another version', '{"version":999}', 'MANIFEST_VERSION'],
  ['that is no object', 'null', 'MANIFEST_VERSION'],
  ['that is no JSON', '{"version":', 'MANIFEST_MALFORMED'],
  ['that is no UTF-8', '\xff', 'MANIFEST_MALFORMED'],
] as const) {
  test(`readManifest() refuses a manifest ${title}`, t => {
    const path = join(directory, title.replaceAll(' ', '-'));
    writeFileSync(path, elfWithNote(Buffer.from(json, 'latin1')));
    t.throws(() => readManifest(path), { code });
  });
}

/** An ELF file with one note: owner `unexec`, type 1. */
function elfWithNote(desc: Uint8Array): Uint8Array {
  const file = newElf({ type: ET.ET_EXEC });
  const contents = encodeNotes([{ owner: 'unexec', type: 1, desc }], 4);
  addSection(file, newSection({ name: '.note.unexec', type: SHT.SHT_NOTE, align: 4, contents }));
  return elfBytes(file);
}
