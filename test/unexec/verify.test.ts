import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import {
  Elf64_Ehdr,
  Elf64_Phdr,
  Elf64_Shdr,
  ET,
  layoutElf,
  piecesToBytes,
  readElf,
  SHT,
  writeElf,
} from '../../formats/elf/index.ts';
import { bytesSource } from '../../formats/source.ts';
import { viewOf } from '../../formats/struct.ts';
import { UnexecError } from '../../unexec/errors.ts';
import { NOTHING_LEFT } from '../../unexec/file-pages.ts';
import { endOf, PAGE } from '../../unexec/image.ts';
import { NOTE } from '../../unexec/manifest.ts';
import { buildExecutable, CONTENTS_OFFSET } from '../../unexec/styles/resume/executable.ts';
import { chooseWindow } from '../../unexec/styles/resume/window.ts';
import { verifyImage } from '../../unexec/verify.ts';
import { sandbox } from '../support/sandbox.ts';
import { imageOf } from '../support/synthetic-image.ts';
import { regionOf } from '../support/synthetic-view.ts';

const directory = sandbox('verify');
const NOTES = [
  { type: NOTE.MANIFEST, desc: new Uint8Array(4) },
  { type: NOTE.ZONES, desc: new Uint8Array(4) },
];
const heap = regionOf(0x5555_0000_0000n, 4, { kind: 'heap', name: '[heap]' });
const stack = regionOf(0x7ffd_0000_0000n, 2, { kind: 'stack', name: '[stack]' });
const vdso = regionOf(0x7ffe_0000_0000n, 1, { kind: 'vdso', name: '[vdso]' });
const image = imageOf({ regions: [heap, stack, vdso] });
const sound = soundFile();
let count = 0;

/** The bytes of an image of these regions, with one page of contents. */
function soundFile(notes: readonly { type: number; desc: Uint8Array }[] = NOTES): Uint8Array {
  const span = { region: heap, address: heap.start, size: PAGE, fileOffset: CONTENTS_OFFSET };
  const file = buildExecutable({
    image,
    window: chooseWindow(image.arch, image.regions),
    spans: [{ ...span, runs: [{ first: 0, count: 1 }] }],
    data: new Uint8Array(100).fill(7),
    dataOffset: CONTENTS_OFFSET + PAGE,
    notes,
    left: NOTHING_LEFT,
    compressed: false,
    symbols: 'none',
    extras: [],
  });
  const layout = layoutElf(file);
  return piecesToBytes(writeElf(layout), layout.size);
}

/** Verifies these bytes; what is wrong with them, or undefined. */
function verdict(bytes: Uint8Array, of = image): string | undefined {
  const path = join(directory, `image-${count++}`);
  writeFileSync(path, bytes);
  try {
    verifyImage(path, of);
    return undefined;
  } catch (error) {
    if (error instanceof UnexecError && error.code === 'VERIFY_FAILED') return error.message;
    throw error;
  }
}

function changed(change: (view: DataView) => void): Uint8Array {
  const bytes = sound.slice();
  change(viewOf(bytes));
  return bytes;
}

const header = Elf64_Ehdr.read(viewOf(sound), 0, true);
const sections = readElf(bytesSource(sound)).sections;
const phdr = (index: number, field: keyof typeof Elf64_Phdr.offsets): number =>
  Number(header.e_phoff) + index * Elf64_Phdr.size + Elf64_Phdr.offsets[field];
const shdr = (name: string, field: keyof typeof Elf64_Shdr.offsets): number => {
  const index = sections.findIndex(section => section.name === name);
  if (index < 0) throw new Error(`there is no section ${name}`);
  return Number(header.e_shoff) + index * Elf64_Shdr.size + Elf64_Shdr.offsets[field];
};
const noteAt = (type: number): number => {
  const { offset = 0 } = sections.find(({ type: is }) => is === SHT.SHT_NOTE) ?? {};
  return offset + (type === NOTE.MANIFEST ? 0 : 24);
};

test('verifyImage() finds nothing wrong with a sound image', t => {
  t.is(verdict(sound), undefined);
});

const FAR = BigInt(sound.length);
const faults: readonly [what: string, bytes: () => Uint8Array, message: RegExp][] = [
  [
    'another type of file',
    () => changed(view => view.setUint16(Elf64_Ehdr.offsets.e_type, ET.ET_DYN, true)),
    /it is no executable/,
  ],
  [
    'an entry point before all segments',
    () => changed(view => view.setBigUint64(Elf64_Ehdr.offsets.e_entry, 1n, true)),
    /its entry point lies in no segment/,
  ],
  [
    'an entry point right after its segment',
    () =>
      changed(view => {
        const end = view.getBigUint64(phdr(0, 'p_vaddr'), true) + view.getBigUint64(phdr(0, 'p_memsz'), true);
        view.setBigUint64(Elf64_Ehdr.offsets.e_entry, end, true);
      }),
    /its entry point lies in no segment/,
  ],
  [
    'a segment that ends one byte beyond the file',
    () =>
      changed(view => {
        const size = FAR - view.getBigUint64(phdr(1, 'p_offset'), true) + 1n;
        view.setBigUint64(phdr(1, 'p_filesz'), size, true);
        view.setBigUint64(phdr(1, 'p_memsz'), size, true);
      }),
    /a segment ends beyond the file/,
  ],
  [
    'a section that ends beyond the file',
    () => changed(view => view.setBigUint64(shdr('heap.rw-', 'sh_size'), FAR, true)),
    /it cannot be read \(ELF: section \d+ .* expected to end within the file/,
  ],
  [
    'no data of the restorer',
    () => changed(view => view.setUint32(shdr('.unexec.data', 'sh_name'), 0, true)),
    /the restorer has no data/,
  ],
  [
    'no manifest',
    () => changed(view => view.setUint32(noteAt(NOTE.MANIFEST) + 8, 9, true)),
    /it has no manifest/,
  ],
  ['no zone note', () => soundFile(NOTES.slice(0, 1)), /it has no zone note/],
  [
    'notes of another owner',
    () => changed(view => view.setUint8(noteAt(NOTE.MANIFEST) + 12, 0x55)),
    /it has no manifest/,
  ],
  [
    'no section for a region',
    () => changed(view => view.setBigUint64(shdr('stack.rw-', 'sh_addr'), 0x1000n, true)),
    /no section begins at 0x7ffd00000000 \(\[stack\]\)/,
  ],
];

for (const [what, bytes, message] of faults) {
  test(`verifyImage() finds ${what}`, t => {
    const said = verdict(bytes());
    t.regex(said ?? 'nothing', message);
    t.is(said?.split(';').length, 1, 'and nothing else');
  });
}

test('verifyImage() wants a section for each region but those that the kernel makes', t => {
  const more = regionOf(endOf(heap) + 0x1000n, 1);
  const said = verdict(sound, imageOf({ regions: [heap, more, stack, vdso] }));
  t.regex(said ?? 'nothing', /no section begins at 0x555500005000/);
});

test('verifyImage() says everything that is wrong at once', t => {
  const bytes = changed(view => {
    view.setUint16(Elf64_Ehdr.offsets.e_type, ET.ET_DYN, true);
    view.setUint32(noteAt(NOTE.MANIFEST) + 8, 9, true);
    view.setUint32(shdr('.unexec.data', 'sh_name'), 0, true);
  });
  t.regex(verdict(bytes) ?? 'nothing', /no executable; the restorer has no data; it has no manifest/);
});

test('verifyImage() finds a file that was cut off, wherever', t => {
  for (let size = 0; size < sound.length; size += size < 2000 ? 1 : 97) {
    t.is(typeof verdict(sound.slice(0, size)), 'string', `${size} bytes`);
  }
});

test('a file that is gone gives the error of open(2)', t => {
  t.throws(() => verifyImage(join(directory, 'nothing'), image), { code: 'ENOENT' });
});
