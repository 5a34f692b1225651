import { join } from 'node:path';
import test from 'ava';
import { verifyFile } from '../../../unexec/verify-file.ts';
import { sandbox } from '../sandbox.ts';
import { Editor, INITPROT, SECTION, SEGMENT, SEGMENT_FLAGS } from './edit.ts';
import { REFUSED, runMachO } from './loader.ts';
import { compileMachO, type MachOArch, type MachOProgram } from './toolchain.ts';

const directory = sandbox('macho-rules');
const base: MachOProgram = {
  sources: ['test/support/macho/programs/state.c'],
  arch: 'x86_64',
  fixups: 'dyld-info',
  signed: false,
  headerpad: 0x1000,
  directory,
};

/** Unsigned ones, so that what is changed is not first found by the hashes of pages. */
const programs = {
  opcodes: { ...base, name: 'opcodes' },
  chained: { ...base, name: 'chained', fixups: 'chained' },
  signed: { ...base, name: 'signed', signed: true },
  arm64: { ...base, name: 'arm64', arch: 'arm64', signed: true },
  'unsigned arm64': { ...base, name: 'unsigned-arm64', arch: 'arm64' },
} as const satisfies Record<string, MachOProgram>;
const built = new Map<string, string>();

type Rule = readonly [sentence: RegExp, edit: (file: Editor) => void];
let edits = 0;

/** Registers one test for each rule: broken, it is told in a sentence, and by our own verifier. */
function rulesOf(program: keyof typeof programs, rules: readonly Rule[]): void {
  for (const [sentence, edit] of rules)
    test(`the loader refuses what breaks a rule, ${program}: ${sentence.source}`, async t => {
      const file = new Editor(pathOf(program));
      edit(file);
      const path = file.save(join(directory, `broken-${edits++}`));
      const arch: MachOArch = programs[program].arch;
      const { stderr, status } = await runMachO(path, [], { arch });
      t.regex(stderr, sentence);
      t.is(status, REFUSED);
      t.not(verifyFile(path).findings.length, 0, 'the verifier finds nothing');
    });
}

function pathOf(program: keyof typeof programs): string {
  const path = built.get(program) ?? compileMachO(programs[program]);
  built.set(program, path);
  return path;
}

const NCMDS = 16;
const SIZEOFCMDS = 20;
const FLAGS = 24;
const LC_SYMTAB = 0x2;
const LC_DYSYMTAB = 0xb;
const LC_UUID = 0x1b;
const LC_CODE_SIGNATURE = 0x1d;
const LC_FUNCTION_STARTS = 0x26;
const LC_NOTE = 0x31;
const LC_BUILD_VERSION = 0x32;
const LC_DYLD_INFO_ONLY = 0x80000022;
const LC_MAIN = 0x80000028;
const LC_DYLD_CHAINED_FIXUPS = 0x80000034;

/** The first function that others can see. */
const external = (file: Editor): number => {
  for (let i = 0, at = file.u32(file.command(LC_SYMTAB) + 8); i < file.u32(file.command(LC_SYMTAB) + 12); i++)
    if (file.bytes[at + 16 * i + 4] === 0x0f && file.bytes[at + 16 * i + 5] === 1) return at + 16 * i;
  throw new Error('no function is external');
};
/** Edits a field of a segment. */
const segment = (name: string, field: number, value: number) => (file: Editor) =>
  file.add64(file.segment(name) + field, value);
const opcodes = (field: number, bytes: readonly number[]) => (file: Editor) =>
  file.bytes.set(bytes, file.u32(file.command(LC_DYLD_INFO_ONLY) + field));
const [REBASE, BIND] = [8, 16];
const [ILOCALSYM, NINDIRECTSYMS, NLOCREL] = [8, 60, 76];

rulesOf('opcodes', [
  [/filetype 6 is not MH_EXECUTE/, file => file.set32(12, 6)],
  [/sizeofcmds is 0x\w+, the \d+ load commands take/, file => file.add32(SIZEOFCMDS, 8)],
  [/load command \d+ lies beyond sizeofcmds/, file => file.add32(NCMDS, 1)],
  [/cmdsize is 32, want 24/, file => file.set32(file.command(LC_UUID) + 4, 32)],
  [/0x800000ff is unknown, but required/, file => file.set32(file.command(LC_UUID), 0x800000ff)],
  [/both LC_DYLD_INFO and/, file => file.set32(file.command(LC_FUNCTION_STARTS), LC_DYLD_CHAINED_FIXUPS)],
  [
    /LC_UUID is missing, which SDK 26 demands/,
    file => {
      file.set32(file.command(LC_BUILD_VERSION) + 16, 0x1a0000);
      file.set32(file.command(LC_UUID), 0x7f);
    },
  ],
  [
    /lack SG_READ_ONLY, which SDK 15.4 demands/,
    file => {
      file.set32(file.command(LC_BUILD_VERSION) + 16, 0xf0400);
      file.set32(file.segment('__DATA_CONST') + SEGMENT_FLAGS, 0);
    },
  ],
  [/segment __DATA: fileoff 0x\w+ is not a multiple/, segment('__DATA', SEGMENT.fileoff, 8)],
  [/segment __DATA: vmaddr 0x\w+ is not a multiple/, segment('__DATA', SEGMENT.vmaddr, 8)],
  [/segment __DATA: filesize 0x\w+ is more than vmsize/, segment('__DATA', SEGMENT.filesize, 0x100000)],
  [
    /segment __LINKEDIT: 0x\w+ bytes at offset 0x\w+ are not in/,
    segment('__LINKEDIT', SEGMENT.fileoff, 0x1000),
  ],
  [/segment __TEXT: initprot is 7, want 5/, file => file.set32(file.segment('__TEXT') + INITPROT, 7)],
  [/segment __LINKEDIT: initprot is 3, want 1/, file => file.set32(file.segment('__LINKEDIT') + INITPROT, 3)],
  [
    /segment __DATA: initprot 3 has what maxprot 1/,
    file => file.set32(file.segment('__DATA') + SEGMENT.maxprot, 1),
  ],
  [/__DATA_CONST and __DATA overlap in memory/, segment('__DATA_CONST', SEGMENT.vmsize, 0x1000)],
  [
    /__DATA and __LINKEDIT overlap in the file/,
    file => {
      const at = file.segment('__LINKEDIT');
      file.add64(at + SEGMENT.fileoff, -0x1000);
      file.add64(at + SEGMENT.filesize, 0x1000);
      file.add64(at + SEGMENT.vmsize, 0x1000);
    },
  ],
  [/2 segments have SG_READ_ONLY/, file => file.set32(file.segment('__DATA') + SEGMENT_FLAGS, 0x10)],
  [/is not a page zero of at least/, file => file.set32(file.segment('__PAGEZERO') + SEGMENT.maxprot, 1)],
  [
    /__DATA,__data: 0x\w+ bytes at 0x\w+ are not inside/,
    file => file.add64(file.section('__data') + SECTION.addr, 0x100000),
  ],
  [
    /__DATA,__data: offset is 0x\w+, want 0x\w+/,
    file => file.add32(file.section('__data') + SECTION.offset, 8),
  ],
  [
    /__DATA,__data: address 0x\w+ is not aligned to 2\^12/,
    file => file.set32(file.section('__data') + SECTION.align, 12),
  ],
  [
    /the file's page goes on with 0x2a at 0x\w+ where memory should be zero/,
    file => {
      const at = file.segment('__DATA');
      file.add64(at + SEGMENT.filesize, -8);
      file.bytes[file.u64(at + SEGMENT.fileoff) + file.u64(at + SEGMENT.filesize)] = 0x2a;
    },
  ],
  [/LC_MAIN: entryoff 0x\w+ is not in __TEXT/, file => file.add64(file.command(LC_MAIN) + 8, 0x100000)],
  [
    /string table: 0x\w+ bytes at 0x\w+ are not inside __LINKEDIT/,
    file => file.set32(file.command(LC_SYMTAB) + 16, 0),
  ],
  [
    /function starts: offset 0x\w+ is not 8-aligned/,
    file => file.add32(file.command(LC_FUNCTION_STARTS) + 8, 1),
  ],
  [/indirect symbol table: offset 0x\w+ lies before/, file => file.add32(file.command(LC_SYMTAB) + 8, 8)],
  [
    /rebase opcodes: 0x\w+ bytes lie unused before it|in the order that codesign demands/,
    file => {
      const at = file.command(LC_DYLD_INFO_ONLY);
      const [rebase, bind] = [file.u64(at + REBASE), file.u64(at + BIND)];
      file.set64(at + REBASE, bind);
      file.set64(at + BIND, rebase);
    },
  ],
  [/__LINKEDIT ends at 0x\w+, not at the end of the file/, file => file.append(16)],
  [
    /__LINKEDIT: 0x20 bytes lie unused at its end/,
    file => {
      file.append(32);
      file.add64(file.segment('__LINKEDIT') + SEGMENT.filesize, 32);
      file.add64(file.segment('__LINKEDIT') + SEGMENT.vmsize, 32);
    },
  ],
  [
    /LC_NOTE unexec: its payload is in __LINKEDIT/,
    file => {
      const at = 32 + file.u32(SIZEOFCMDS);
      file.set32(at, LC_NOTE);
      file.set32(at + 4, 40);
      file.bytes.set(new TextEncoder().encode('unexec'), at + 8);
      file.set64(at + 24, file.bytes.length - 8);
      file.set64(at + 32, 8);
      file.add32(NCMDS, 1);
      file.add32(SIZEOFCMDS, 40);
    },
  ],
  [/1 relocations beside fixups/, file => file.set32(file.command(LC_DYSYMTAB) + NLOCREL, 1)],
  [
    /local symbols \d+ to \d+, the table has/,
    file => file.add32(file.command(LC_DYSYMTAB) + ILOCALSYM, 1000),
  ],
  [
    /its indirect symbols from \d+ on are more/,
    file => file.add32(file.command(LC_DYSYMTAB) + NINDIRECTSYMS, -1),
  ],
  [/symbol \d+: n_strx 0x\w+ is beyond the strings/, file => file.set32(external(file), 0x100000)],
  [/symbol \d+: n_sect 200 is no section/, file => file.bytes.set([200], external(file) + 5)],
  [/symbol \d+: 0x\w+ is not in its section, __text/, file => file.set64(external(file) + 8, 0x100003000)],
  [
    /string table: the last string does not end/,
    file => {
      const symtab = file.command(LC_SYMTAB);
      file.bytes.set([0x78], file.u32(symtab + 16) + file.u32(symtab + 20) - 1);
    },
  ],
  [
    /rebase opcodes: \d+ bytes behind DONE, at most 15/,
    file => {
      const at = file.command(LC_DYLD_INFO_ONLY);
      file.set32(at + REBASE + 4, file.u32(at + BIND) + file.u32(at + BIND + 4) - file.u32(at + REBASE));
      file.set32(at + BIND + 4, 0);
      file.bytes.fill(0, file.u32(at + REBASE), file.u32(at + BIND));
    },
  ],
  [/rebase opcodes: type 2 is not REBASE_TYPE_POINTER/, opcodes(REBASE, [0x12])],
  [/rebase opcodes: 0x90 is unknown/, opcodes(REBASE, [0x90])],
  [/rebase opcodes: an entry comes before any segment/, opcodes(REBASE, [0x11, 0x51])],
  [/rebase opcodes: segment 4 is __LINKEDIT or beyond/, opcodes(REBASE, [0x11, 0x24])],
  [
    /rebase opcodes: address 0x\w+ is in __TEXT, which is not writable/,
    opcodes(REBASE, [0x11, 0x21, 0, 0x51]),
  ],
  [
    /rebase opcodes: offset 0x\w+ is beyond the end of __DATA/,
    opcodes(REBASE, [0x11, 0x23, 0xff, 0x7f, 0x51]),
  ],
  [/rebase opcodes: the word at 0x\w+, 0x0, points to no segment/, opcodes(REBASE, [0x11, 0x22, 0, 0x51])],
  [
    /rebase opcodes: the word at 0x\w+ is rebased twice/,
    opcodes(REBASE, [0x11, 0x23, 0, 0x51, 0x23, 0, 0x51]),
  ],
  [/ordinal 5, there are 1 dylibs/, opcodes(BIND, [0x15, 0x40, 0x5f, 0x61, 0, 0x51, 0x73, 0, 0x90])],
  [
    /initialiser 0x\w+ of __mod_init_func is not in the code/,
    file => {
      file.set64(
        file.u32(file.section('__mod_init_func') + SECTION.offset),
        file.u64(file.segment('__DATA') + SEGMENT.vmaddr),
      );
    },
  ],
  [
    /thread-local 0: its key is 0x7 in the file, want 0/,
    file => {
      file.set64(file.u32(file.section('__thread_vars') + SECTION.offset) + 8, 7);
    },
  ],
]);

/** Offset of the chained fixups, and of the starts in the first segment that has any. */
const fixups = (file: Editor): number => file.u32(file.command(LC_DYLD_CHAINED_FIXUPS) + 8);
const starts = (file: Editor): number => {
  const image = fixups(file) + file.u32(fixups(file) + 4);
  for (let i = 0; i < file.u32(image); i++) {
    const offset = file.u32(image + 4 + 4 * i);
    if (offset !== 0) return image + offset;
  }
  throw new Error('no segment has fixups');
};
const start = (offset: number, value: number) => (file: Editor) =>
  file.view.setUint16(starts(file) + offset, value, true);
/** The first chain's first word, which is a bind: __got comes first. */
const firstWord = (file: Editor): number => file.u64(file.segment('__DATA_CONST') + SEGMENT.fileoff);

rulesOf('chained', [
  [/fixups_version is 1, want 0/, file => file.set32(fixups(file), 1)],
  [/seg_count is 4, want 5/, file => file.add32(fixups(file) + file.u32(fixups(file) + 4), -1)],
  [/imports_format 4 is unknown/, file => file.set32(fixups(file) + 20, 4)],
  [/import \d+ of 1/, file => file.set32(fixups(file) + 16, 1)],
  [/page_size of __DATA_CONST is 0x2000, want/, start(4, 0x2000)],
  [/pointer_format 1 of __DATA_CONST is not 64/, start(6, 1)],
  [/segment_offset of __DATA_CONST is 0x\w+, want/, start(8, 0)],
  [/size of __DATA_CONST's starts is \d+, 100 pages need/, start(20, 100)],
  [/page_start 0x1000 of page 0 of __DATA_CONST is beyond the page/, start(22, 0x1000)],
  [/the chain of the page at 0x\w+ leaves the page/, start(22, 0xffc)],
  [/reserved bits of the bind at 0x\w+ are not zero/, file => file.add32(firstWord(file) + 4, 1)],
  [/the word at 0x\w+, 0x\w+, points to no segment/, file => file.set64(firstWord(file), 0x900000000)],
  [/two words at 0x\w+ overlap/, file => file.set32(firstWord(file) + 4, 0x80080000)],
]);

const signature = (file: Editor): number => file.u32(file.command(LC_CODE_SIGNATURE) + 8);
/** The CodeDirectory, whose fields are big-endian. */
const directoryField = (field: number, change: number) => (file: Editor) => {
  const at = signature(file) + file.view.getUint32(signature(file) + 16) + field;
  file.view.setUint32(at, file.view.getUint32(at) + change);
};
const flip = (at: (file: Editor) => number) => (file: Editor) => {
  const offset = at(file);
  file.bytes[offset] = (file.bytes[offset] ?? 0) ^ 1;
};

const lastLetter = (file: Editor): number =>
  file.bytes.subarray(0, signature(file)).findLastIndex(byte => byte !== 0);

rulesOf('signed', [
  [
    /code signature: page 1 \(offset 0x1000\) has another hash/,
    flip(file => file.u32(file.section('__text') + SECTION.offset) - 1),
  ],
  // The last byte that is signed may be the end of a string, which has a rule of its own: a letter before it.
  [/code signature: page \d+ \(offset 0x\w+\) has another hash/, flip(file => lastLetter(file))],
  [/magic is not CSMAGIC_EMBEDDED_SIGNATURE/, flip(signature)],
  [/version 0x\d+ is below 0x20400/, directoryField(8, -0x400)],
  [/codeLimit 0x\w+ is not where the signature starts/, directoryField(32, -16)],
  [/page hashes, want \d+/, directoryField(28, -1)],
  [/execSegLimit 0x\w+ is not __TEXT's filesize/, directoryField(76, 0x1000)],
  [/execSegFlags lack CS_EXECSEG_MAIN_BINARY/, directoryField(84, -1)],
]);

rulesOf('arm64', [
  [/flags 0x\w+ lack MH_PIE, which xnu demands/, file => file.add32(FLAGS, -0x200000)],
  [
    /segment __DATA: fileoff 0x\w+ is not a multiple of the page, 0x4000/,
    segment('__DATA', SEGMENT.fileoff, 0x1000),
  ],
  [
    /segment __DATA: vmaddr 0x\w+ is not a multiple of the page, 0x4000/,
    segment('__DATA', SEGMENT.vmaddr, 0x1000),
  ],
  [/not a page zero of at least 0x100000000 bytes/, segment('__PAGEZERO', SEGMENT.vmsize, -0x4000)],
  [/cputype 0x1000007 is not arm64's/, file => file.set32(4, 0x01000007)],
]);

rulesOf('unsigned arm64', [[/code signature: there is none, which arm64 demands/, () => {}]]);

test('a byte changed anywhere in a signed file is found', async t => {
  const path = pathOf('signed');
  const { bytes } = new Editor(path);
  for (let i = 1; i < 8; i++) {
    const file = new Editor(path);
    const at = Math.floor((bytes.length * i) / 8);
    flip(() => at)(file);
    const broken = file.save(join(directory, `flipped-${i}`));
    t.is((await runMachO(broken, [], { arch: 'x86_64' })).status, REFUSED, `byte ${at}`);
  }
});
