import { join } from 'node:path';
import test from 'ava';
import { sandbox } from '../sandbox.ts';
import { Editor, SEGMENT } from './edit.ts';
import { complaints, judgeMachO } from './judge.ts';
import { compileMachO, FIXUP_STYLES, MACHO_ARCHES } from './toolchain.ts';

const directory = sandbox('macho-judge');
const sources = ['test/support/macho/programs/state.c'];

for (const arch of MACHO_ARCHES)
  for (const fixups of FIXUP_STYLES)
    test(`no reader complains about what the linker makes, ${arch}, ${fixups}`, async t => {
      await t.notThrowsAsync(judgeMachO(compileMachO({ sources, arch, fixups, directory })));
      const library = { sources, arch, fixups, directory, kind: 'dylib', name: `${arch}.${fixups}` } as const;
      await t.notThrowsAsync(judgeMachO(compileMachO(library)));
    });

test('readers complain about a segment beyond the end of the file', async t => {
  const file = new Editor(
    compileMachO({ sources, arch: 'x86_64', fixups: 'chained', directory, name: 'long' }),
  );
  file.add64(file.segment('__LINKEDIT') + SEGMENT.filesize, 0x100000);
  const path = file.save(join(directory, 'broken'));
  const found = await complaints(path);
  t.true(found.length >= 4, found.join('\n'));
  await t.throwsAsync(judgeMachO(path), { message: /llvm-objdump-19.*llvm-nm-19/s });
});

test('readers complain about a rebase outside of any section', async t => {
  const file = new Editor(
    compileMachO({ sources, arch: 'x86_64', fixups: 'dyld-info', directory, name: 'rebase' }),
  );
  const opcodes = file.u32(file.command(0x80000022) + 8);
  file.bytes.set([0x11, 0x23, 0xf0, 0x1f, 0x51, 0], opcodes);
  const found = await complaints(file.save(join(directory, 'broken-rebase')));
  t.true(
    found.some(text => text.includes('--rebase')),
    found.join('\n'),
  );
});
