/** Rules that are broken in the model, where the header of a file would have no room for it. */
import { readFileSync } from 'node:fs';
import test from 'ava';
import {
  CPU_TYPE,
  encodeDataInCode,
  findCommand,
  findSegment,
  LC,
  type MachOFile,
  MH,
  newCommand,
  newMachO,
  newSection,
  readMachO,
  rpath_command,
  setBlob,
  verifyMachO,
} from '../../../../formats/macho/index.ts';
import { Editor } from '../../../support/macho/edit.ts';
import { base, sdk, sha256 } from '../support/verify.ts';

const codesOf = (file: MachOFile): string[] => verifyMachO(file, sha256).map(({ code }) => code);

/** The sound file, with the SDK of this version. */
function fileOf(major: number): MachOFile {
  const editor = new Editor(base('chained'));
  sdk(major)(editor);
  return readMachO(editor.bytes);
}

/** Links with the same library once more. */
function repeatDylib(file: MachOFile): void {
  const command = findCommand(file, LC.LC_LOAD_DYLIB);
  if (command !== undefined) file.commands.push({ ...command });
}

function addRpaths(file: MachOFile): void {
  const tail = new TextEncoder().encode('@loader_path/..\0');
  for (let i = 0; i < 2; i++) {
    file.commands.push(newCommand(LC.LC_RPATH, rpath_command, { path: rpath_command.size }, tail));
  }
}

for (const [what, code, edit] of [
  ['a library that is linked twice', 'MACHO_DUPLICATE_DYLIB', repeatDylib],
  ['a path that is searched twice', 'MACHO_DUPLICATE_RPATH', addRpaths],
] as const) {
  test(`verifyMachO() finds ${what}, from SDK 26 on: ${code}`, t => {
    const [older, newest] = [fileOf(15), fileOf(26)];
    edit(older);
    edit(newest);
    t.deepEqual(codesOf(older), []);
    t.deepEqual(codesOf(newest), [code]);
  });
}

test('verifyMachO() finds more sections than symbols can name: MACHO_SECTION_COUNT', t => {
  const file = fileOf(15);
  const data = findSegment(file, '__DATA');
  if (data === undefined) return t.fail('no __DATA');
  for (let i = 0; i < 256; i++) {
    data.sections.push(newSection({ sectname: `__s${i}`, segname: '__DATA', addr: data.vmaddr }));
  }
  t.deepEqual(codesOf(file), ['MACHO_SECTION_COUNT']);
});

test('verifyMachO() finds data in code that is not in the code: MACHO_DATA_IN_CODE', t => {
  const file = readMachO(new Uint8Array(readFileSync(base('chained'))));
  const entries = encodeDataInCode([{ offset: 0x100_0000, length: 4, kind: 1 }]);
  const at = file.linkedit.find(({ kind }) => kind === 'data-in-code')?.offset;
  setBlob(file, 'data-in-code', entries);
  t.not(at, undefined);
  t.true(codesOf(file).includes('MACHO_DATA_IN_CODE'));
});

test('verifyMachO() finds a core of no memory and no threads', t => {
  const file = newMachO({ cputype: CPU_TYPE.CPU_TYPE_X86_64, filetype: MH.MH_CORE });
  t.deepEqual(codesOf(file), ['MACHO_CORE_THREADS', 'MACHO_CORE_MEMORY']);
});
