/** What the layout computes, and models that contradict themselves. */
import test from 'ava';
import {
  FormatError,
  fields,
  findCommand,
  findSegment,
  insertSegment,
  LC,
  layoutMachO,
  linkedit_data_command,
  type MachOFile,
  MH,
  mach_header_64,
  machoBytes,
  newCommand,
  newSection,
  newSegment,
  readMachO,
  relayLinkedit,
  removeCommand,
  type SegmentCommand,
  segmentsOf,
  setBlob,
  symtab_command,
  VM_PROT,
} from '../../../formats/macho/index.ts';
import { viewOf } from '../../../formats/struct.ts';
import { tiny } from './support/tiny.ts';
import { onDisk, output } from './support/tools.ts';

function segment(file: MachOFile, name: string): SegmentCommand {
  const found = findSegment(file, name);
  if (!found) throw new Error(`no segment ${name}`);
  return found;
}

/** The new segment of a prepared program, which takes the place of __LINKEDIT in memory and in the file. */
function withHeap(file: MachOFile, bytes: Uint8Array): MachOFile {
  const linkedit = segment(file, '__LINKEDIT');
  const { vmaddr, fileoff } = linkedit;
  const size = BigInt(bytes.length);
  insertSegment(
    file,
    '__LINKEDIT',
    newSegment({
      segname: '__DATA_HEAP',
      vmaddr,
      vmsize: size,
      fileoff,
      filesize: bytes.length,
      maxprot: VM_PROT.VM_PROT_READ | VM_PROT.VM_PROT_WRITE,
      initprot: VM_PROT.VM_PROT_READ | VM_PROT.VM_PROT_WRITE,
      sections: [
        newSection({
          sectname: '__heap',
          segname: '__DATA_HEAP',
          addr: vmaddr,
          size,
          offset: fileoff,
          align: 12,
        }),
      ],
      contents: bytes,
    }),
  );
  linkedit.vmaddr += size;
  relayLinkedit(file, fileoff + bytes.length);
  return file;
}

test('layoutMachO() computes the header from the commands', t => {
  const { header, commands } = layoutMachO(tiny());
  t.is(header.magic, 0xfeedfacf);
  t.is(header.ncmds, 10);
  t.is(
    header.sizeofcmds,
    commands.reduce((size, { length }) => size + length, 0),
  );
  t.is(header.filetype, MH.MH_EXECUTE);
});

test('layoutMachO() does not change the file', t => {
  const file = tiny();
  const before = structuredClone(file);
  layoutMachO(file);
  t.deepEqual(file, before);
});

test('a file that was laid out and read is laid out the same again', t => {
  const layout = layoutMachO(tiny());
  const again = layoutMachO(readMachO(machoBytes(tiny())));
  t.deepEqual(again.header, layout.header);
  t.deepEqual(again.commands, layout.commands);
  t.deepEqual([...again.linkedit].sort(), [...layout.linkedit].sort());
  t.is(again.size, layout.size);
});

test('a segment can be inserted before __LINKEDIT of a file that was read', t => {
  const heap = new Uint8Array(0x3000).fill(0xaa);
  const original = readMachO(machoBytes(tiny()));
  const bytes = machoBytes(withHeap(original, heap));
  const file = readMachO(bytes);
  t.deepEqual(
    segmentsOf(file).map(({ segname, fileoff, filesize }) => [segname, fileoff, filesize]),
    [
      ['__PAGEZERO', 0, 0],
      ['__TEXT', 0, 0x1000],
      ['__DATA', 0x1000, 0x1000],
      ['__DATA_HEAP', 0x2000, 0x3000],
      ['__LINKEDIT', 0x5000, bytes.length - 0x5000],
    ],
  );
  t.true(bytes.subarray(0x2000, 0x5000).every(byte => byte === 0xaa));
  t.is(segment(file, '__LINKEDIT').vmsize, 0x1000n);
  t.is(mach_header_64.read(viewOf(bytes), 0, true).ncmds, 11);

  const path = onDisk(bytes);
  output('llvm-objdump-19', '--macho', '--private-headers', path);
  t.is(output('llvm-nm-19', path), '0000000100000ff0 T _main\n0000000100001000 D _word\n');
  t.regex(
    output('llvm-objdump-19', '--macho', '--section-headers', path),
    /__heap +00003000 0000000100003000/,
  );
});

test('commands that become shorter leave zeros behind them', t => {
  const file = readMachO(machoBytes(tiny()));
  const uuid = findCommand(file, LC.LC_UUID);
  const main = findCommand(file, LC.LC_MAIN);
  if (!uuid || !main) return t.fail();
  const end = mach_header_64.size + file.header.sizeofcmds;
  removeCommand(file, uuid);
  removeCommand(file, main);
  const bytes = machoBytes(file);
  t.is(bytes.length, machoBytes(tiny()).length);
  t.true(bytes.subarray(end - 48, end).every(byte => byte === 0));
  t.deepEqual(readMachO(bytes).commands.length, 8);
});

test('a command whose part was taken out says that there is none', t => {
  const file = readMachO(machoBytes(tiny()));
  file.linkedit = file.linkedit.filter(({ kind }) => kind !== 'function-starts');
  const read = readMachO(machoBytes(file));
  const command = findCommand(read, LC.LC_FUNCTION_STARTS);
  t.like(command && fields(command, linkedit_data_command), { dataoff: 0, datasize: 0 });
});

const refused = test.macro<[string, (file: MachOFile) => void, string, RegExp]>({
  exec(t, _title, change, code, message) {
    for (const file of [tiny(), readMachO(machoBytes(tiny()))]) {
      change(file);
      t.throws(() => layoutMachO(file), { instanceOf: FormatError, code, message });
    }
  },
  title: (_, title) => `layoutMachO() refuses ${title}`,
});
const pad = (bytes: number) => newCommand(LC.LC_UUID, mach_header_64, HEADER, new Uint8Array(bytes));
const HEADER = {
  magic: 0,
  cputype: 0,
  cpusubtype: 0,
  filetype: 0,
  ncmds: 0,
  sizeofcmds: 0,
  flags: 0,
  reserved: 0,
};
test(
  refused,
  'more commands than there is room for',
  file => file.commands.push(pad(0xd00)),
  'MACHO_NO_HEADER_ROOM',
  /end at 0x[0-9a-f]+, expected at most 0xff0, .*-headerpad/,
);
test(
  refused,
  'segments that overlap',
  file => {
    segment(file, '__DATA').fileoff = 0x800;
  },
  'MACHO_OVERLAP',
  /segment 2 \(__DATA\) at 0x800 to 0x1800 overlaps/,
);
test(
  refused,
  'a part of __LINKEDIT that overlaps a segment',
  file => {
    setBlob(file, 'strings', new Uint8Array(9).fill(7));
    for (const blob of file.linkedit) if (blob.kind === 'strings') blob.offset = 0x1ff8;
  },
  'MACHO_OVERLAP',
  /strings at 0x1ff8 to 0x2001|segment 2/,
);
test(
  refused,
  'a part of __LINKEDIT that no command describes',
  file => setBlob(file, 'exports-trie', new Uint8Array(8)),
  'MACHO_NO_COMMAND',
  /where exports-trie is/,
);
test(
  refused,
  'half a symbol',
  file => setBlob(file, 'symbols', new Uint8Array(24)),
  'MACHO_BAD_LINKEDIT',
  /symbols is 0x18 bytes, expected a multiple of 16/,
);
test(
  refused,
  'two commands for one part',
  file =>
    file.commands.push(
      newCommand(LC.LC_SYMTAB, symtab_command, { symoff: 0, nsyms: 0, stroff: 0, strsize: 0 }),
    ),
  'MACHO_DUPLICATE_COMMAND',
  /symbols/,
);
test(
  refused,
  '__LINKEDIT beyond 4 GiB',
  file => relayLinkedit(file, 2 ** 32),
  'MACHO_TOO_LARGE',
  /at 0x100000000, expected an offset below 4 GiB/,
);
test(
  refused,
  'a section beyond 4 GiB',
  file => {
    const [section] = segment(file, '__DATA').sections;
    if (section) section.offset = 2 ** 32;
  },
  'MACHO_TOO_LARGE',
  /offset of section __DATA,__data is 0x100000000/,
);
test(
  refused,
  'an address beyond 2^64',
  file => {
    segment(file, '__DATA').vmaddr = 2n ** 64n;
  },
  'MACHO_TOO_LARGE',
  /vmaddr of segment "__DATA"/,
);
test(
  refused,
  'a negative size',
  file => {
    segment(file, '__PAGEZERO').filesize = -1;
  },
  'MACHO_TOO_LARGE',
  /filesize of segment "__PAGEZERO" is 0x-1|-0x1/,
);
test(
  refused,
  'contents of another size than their segment',
  file => {
    segment(file, '__DATA').contents = new Uint8Array(0xfff);
  },
  'MACHO_BAD_SEGMENT',
  /contents of 0xfff bytes, expected its filesize of 0x1000/,
);
test(
  refused,
  'a name of seventeen characters',
  file => {
    segment(file, '__DATA').segname = '__DATA_IS_MY_HEAP';
  },
  'MACHO_BAD_NAME',
  /"__DATA_IS_MY_HEAP" does not fit/,
);
test(
  refused,
  'a name beyond Latin-1',
  file => {
    segment(file, '__DATA').segname = '__DATÄ☃';
  },
  'MACHO_BAD_NAME',
  /does not fit/,
);

test('bytes that a program hides behind its commands are not overwritten', t => {
  const bytes = machoBytes(tiny());
  bytes[0xf00] = 1;
  const file = readMachO(bytes);
  file.commands.push(pad(0xc20));
  t.throws(() => layoutMachO(file), { code: 'MACHO_NO_HEADER_ROOM', message: /expected at most 0xf00/ });
});
