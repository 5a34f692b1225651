import { join } from 'node:path';
import test from 'ava';
import { verifyWritten } from '../../unexec/verify-written.ts';
import { Editor } from '../support/macho/edit.ts';
import { compileMachO } from '../support/macho/toolchain.ts';
import { sandbox } from '../support/sandbox.ts';

const directory = sandbox('verify-written');
const sources = ['test/support/macho/programs/state.c'];
const sound = compileMachO({ sources, arch: 'arm64', fixups: 'chained', directory });
const PAGE = 0x1000;

/** The program with a byte changed on each of these pages, so that their hashes are wrong. */
function spoiled(...pages: number[]): string {
  const file = new Editor(sound);
  // Between the load commands and the first section is nothing but zeros; later pages end in them.
  for (const page of pages) file.bytes[page * PAGE + PAGE - 1] = 1;
  return file.save(join(directory, `spoiled.${pages.join('.')}`));
}

test('verifyWritten() accepts what is as sound as what it was made from', t => {
  t.notThrows(() => verifyWritten(sound, sound));
  t.notThrows(() => verifyWritten(spoiled(1), spoiled(1)));
  t.notThrows(() => verifyWritten(sound, spoiled(1)));
});

test('verifyWritten() refuses what has a fault more, of a new kind or of a known one', t => {
  const refused = { code: 'VERIFY_FAILED', message: /^the written file is wrong: Mach-O: .*page/ };
  t.throws(() => verifyWritten(spoiled(1), sound), refused);
  t.throws(() => verifyWritten(spoiled(1, 2), spoiled(1)), refused);
});
