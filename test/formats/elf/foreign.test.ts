/** Files of ours before foreign judges: what binutils, elfutils, LLVM, gdb and the kernel say of them. */
import { spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import {
  addSection,
  type ElfFile,
  elfBytes,
  encodeSymbols,
  layoutElf,
  newElf,
  newSection,
  newSegment,
  newSymbol,
  PF,
  PT,
  SHF,
  SHT,
  STT,
  writeElf,
} from '../../../formats/elf/index.ts';
import { core } from './support/core.ts';
import { BUILD_ID, HELLO_SYMBOLS, hello } from './support/hello.ts';
import { onDisk, output, run, temporaryDirectory } from './support/tools.ts';

const GIB = 2 ** 30;

test('the kernel runs a program that was made from nothing', t => {
  t.is(spawnSync(onDisk(elfBytes(hello()))).status, 42);
});

test('readelf reads everything of it without a warning', t => {
  const text = output('readelf', ['-aW', onDisk(elfBytes(hello()))]);
  t.notRegex(text, /warning|error|corrupt/i);
  t.true(text.includes(`Build ID: ${BUILD_ID}`));
  t.regex(text, /unexec +0x00000003/);
  for (const { name } of HELLO_SYMBOLS) t.regex(text, new RegExp(` ${name}$`, 'm'));
});

test('eu-elflint finds no fault with it but that it does not know our note', t => {
  const { stdout, stderr } = run('eu-elflint', ['--gnu-ld', onDisk(elfBytes(hello()))]);
  // It knows the types of GNU, CORE and a few other owners, and calls all others unknown.
  const unknown =
    "section [ 5] '.note.unexec': unknown object file note type 1 with owner name 'unexec' at offset 24\n";
  t.deepEqual({ stdout, stderr }, { stdout: unknown, stderr: '' });

  const file = hello();
  file.sections = file.sections.map(section =>
    section.name === '.note.unexec' ? { ...section, name: '.data.unexec', type: SHT.SHT_PROGBITS } : section,
  );
  t.deepEqual(run('eu-elflint', ['--gnu-ld', onDisk(elfBytes(file))]), {
    stdout: 'No errors\n',
    stderr: '',
    status: 0,
  });
});

test('llvm-readobj reads everything of it without a warning', t => {
  const { stdout, stderr, status } = run('llvm-readobj', ['-a', '--notes', onDisk(elfBytes(hello()))]);
  t.is(stderr, '');
  t.is(status, 0);
  t.true(stdout.includes(`Build ID: ${BUILD_ID}`));
  for (const { name } of HELLO_SYMBOLS) t.true(stdout.includes(`Name: ${name} (`));
});

test('gdb knows its symbols', t => {
  const path = onDisk(elfBytes(hello()));
  const { stdout } = run('gdb', [
    '-nx',
    '-batch',
    '-ex',
    'info symbol 0x401005',
    '-ex',
    'info address local_word',
    '-ex',
    'disassemble _start',
    path,
  ]);
  t.regex(stdout, /^_start \+ 5 in section \.text$/m);
  t.regex(stdout, /"local_word" is at 0x402008/);
  t.regex(stdout, /syscall/);
});

test('readelf and llvm-readobj read a core of ours without a warning', t => {
  const path = onDisk(elfBytes(core([new Uint8Array(4096).fill(1), new Uint8Array(100).fill(2)])));
  const text = output('readelf', ['-aW', path]);
  t.regex(text, /CORE +0x00000150\s+NT_PRSTATUS/);
  t.regex(text, /LINUX +0x00000340\s+NT_X86_XSTATE/);
  t.is(run('llvm-readobj', ['-a', path]).stderr, '');
});

/** As the `resume` style lays it out: code low, gigabytes of memory as sections, symbols around them. */
function image(): ElfFile {
  const file = newElf({ type: 2, entry: 0x10400n });
  const code = Uint8Array.of(0xbf, 42, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05);
  const text = addSection(
    file,
    newSection({
      name: '.restorer',
      type: SHT.SHT_PROGBITS,
      flags: SHF.SHF_ALLOC | SHF.SHF_EXECINSTR,
      address: 0x10400n,
      offset: 0x400,
      align: 16,
      contents: code,
    }),
  );
  file.segments.push(
    newSegment({
      type: PT.PT_LOAD,
      flags: PF.PF_R | PF.PF_X,
      address: 0x10000n,
      fileSize: 0x400 + code.length,
      memorySize: 0x400 + code.length,
      align: 0x1000,
    }),
    newSegment({ type: PT.PT_GNU_STACK, flags: PF.PF_R | PF.PF_W, align: 16 }),
  );
  const address = 0x7f00_0000_0000n;
  const heap = addSection(
    file,
    newSection({
      name: '.image.heap',
      type: SHT.SHT_PROGBITS,
      flags: SHF.SHF_ALLOC | SHF.SHF_WRITE,
      address,
      offset: 0x1000,
      size: 5 * GIB,
      align: 0x1000,
    }),
  );
  const symbols = Array.from({ length: 1000 }, (_, i) =>
    newSymbol({
      name: `object_${i}`,
      value: address + BigInt(i) * 0x10000n,
      size: 0x10000,
      type: STT.STT_OBJECT,
      sectionIndex: heap,
    }),
  );
  symbols.push(
    newSymbol({
      name: 'restore',
      value: 0x10400n,
      size: code.length,
      type: STT.STT_FUNC,
      sectionIndex: text,
    }),
  );
  const { symtab, strtab, firstGlobal } = encodeSymbols(symbols);
  const link = file.sections.length + 1;
  addSection(
    file,
    newSection({
      name: '.symtab',
      type: SHT.SHT_SYMTAB,
      link,
      info: firstGlobal,
      align: 8,
      entsize: 24,
      contents: symtab,
    }),
  );
  addSection(file, newSection({ name: '.strtab', type: SHT.SHT_STRTAB, contents: strtab }));
  return file;
}

test('a program around five external gigabytes runs, and readelf and gdb read it', t => {
  const path = join(temporaryDirectory(), 'image');
  const layout = layoutElf(image());
  const fd = openSync(path, 'w', 0o755);
  for (const { offset, bytes } of writeElf(layout)) writeSync(fd, bytes, 0, bytes.length, offset);
  ftruncateSync(fd, layout.size);
  closeSync(fd);
  t.true(layout.size > 5 * GIB);
  t.is(spawnSync(path).status, 42);
  const text = output('readelf', ['-SslW', path]);
  t.regex(text, /\.image\.heap +PROGBITS +00007f0000000000 001000 140000000/);
  const { stdout } = run('gdb', [
    '-nx',
    '-batch',
    '-ex',
    'info symbol 0x7f0000015678',
    '-ex',
    'info symbol 0x10402',
    path,
  ]);
  t.regex(stdout, /^object_1 \+ 22136/m);
  t.regex(stdout, /^restore \+ 2/m);
});
