/** LC_NOTE. */
import test from 'ava';
import {
  addNote,
  FormatError,
  findSegment,
  machoBytes,
  noteContents,
  readMachO,
  readNotes,
  wholeContents,
} from '../../../formats/macho/index.ts';
import { tiny } from './support/tiny.ts';
import { onDisk, output } from './support/tools.ts';

test('notes are read as they were added, with what they point at', t => {
  const file = tiny();
  // In the segment, but in no section: LLVM refuses a note that overlaps one.
  const data = findSegment(file, '__DATA')?.contents;
  if (data instanceof Uint8Array) data.set([3, 4, 5], 0x100);
  addNote(file, { owner: 'unexec', offset: 0x1100, size: 3 });
  addNote(file, { owner: 'sixteen letters!', offset: 0x1103, size: 1 });
  const bytes = machoBytes(file);
  const read = readMachO(bytes);
  const notes = readNotes(read);
  t.deepEqual(notes, [
    { owner: 'unexec', offset: 0x1100, size: 3 },
    { owner: 'sixteen letters!', offset: 0x1103, size: 1 },
  ]);
  t.deepEqual(
    notes.map(note => [...wholeContents(noteContents(read, note))]),
    [[3, 4, 5], [0]],
  );
  t.regex(
    output('llvm-objdump-19', '--macho', '--private-headers', onDisk(bytes)),
    /cmd LC_NOTE\n +cmdsize 40\ndata_owner unexec\n +offset 4352\n +size 3\n/,
  );
});

test('notes of a file that has none are none', t => t.deepEqual(readNotes(tiny()), []));

test('a note that points beyond the file is an error when it is read, not before', t => {
  const file = tiny();
  addNote(file, { owner: 'x', offset: 0x10_0000, size: 8 });
  const read = readMachO(machoBytes(file));
  const [note] = readNotes(read);
  t.throws(() => note && noteContents(read, note), { instanceOf: FormatError, code: 'MACHO_EXTERNAL' });
});

test('an owner of seventeen letters is refused', t => {
  t.throws(() => addNote(tiny(), { owner: 'seventeen letters', offset: 0, size: 0 }), {
    instanceOf: FormatError,
    code: 'MACHO_BAD_NAME',
  });
});
