/**
 * Thread-local variables of a library that its initialiser has changed. Each thread has its own, made from a
 * template in the file, so nothing that is stored in one thread's can be kept for others: they are refused.
 *
 * Where those of the first thread are, the words say that the loader has made for the library's own accesses:
 * the number of its module, or its distance from the thread pointer. Facts: ELF Handling For Thread-Local Storage
 * (Drepper), variant II; glibc 2.36, sysdeps/x86_64/nptl/tls.h (`tcbhead_t`: dtv at 8) and sysdeps/generic/dl-dtv.h.
 *
 * @module
 */
import {
  type ElfSymbol,
  findSegment,
  PT,
  readSymbols,
  relocationsOf,
  SHN,
  SHT,
  STT,
  segmentContents,
} from '../../../formats/elf/index.ts';
import type { Reason } from '../../errors.ts';
import type { ReadRun } from './bound-words.ts';
import type { LibraryFile } from './library-file.ts';

const DTV = 8n;
const DTV_ENTRY = 16n;
const UNALLOCATED = 2n ** 64n - 1n;
const WORD = 8;
/** A number that is larger is none: libraries with thread-local variables are few. */
const MOST_MODULES = 4096n;

/** A reason for each variable that differs from the template. */
export function changedThreadLocals(library: LibraryFile, run: ReadRun): Reason[] {
  const template = findSegment(library.file, PT.PT_TLS);
  const block = template && blockOfFirstThread(library, run);
  if (template === undefined || block === undefined) return [];
  const expected = new Uint8Array(template.memorySize);
  expected.set(segmentContents(library.file, template));
  const found = new Uint8Array(template.memorySize);
  run.memory.read(block, found);
  // The loader has relocated the template itself.
  for (const { offset } of [...relocationsOf(library.rela)]) {
    const at = Number(offset - template.address);
    if (at < 0 || at >= template.fileSize) continue;
    expected.fill(0, at, at + WORD);
    found.fill(0, at, at + WORD);
  }
  const names = new Set<string>();
  for (let at = 0; at < expected.length; at++) {
    if (expected[at] !== found[at]) names.add(nameOf(library, at));
  }
  return [...names].map(name => ({
    code: 'THREAD_LOCAL',
    what: `the initialiser has changed ${name}, of which each thread has its own`,
    remedy: 'set it in each thread, or make it an ordinary variable',
  }));
}

/** Address of the library's thread-local variables in the first thread; undefined where they do not exist yet. */
function blockOfFirstThread(
  { rela, jmprel, types, symbols }: LibraryFile,
  { run, memory }: ReadRun,
): bigint | undefined {
  const pointer = run.view.threads[0]?.threadPointer;
  if (pointer === undefined) return undefined;
  const dtv = memory.word(pointer + DTV);
  const blocks = (id: bigint): bigint => memory.word(dtv + DTV_ENTRY * id);
  for (const { offset, type, symbol, addend } of [...relocationsOf(rela), ...relocationsOf(jmprel)]) {
    const word = (at: bigint): bigint => memory.word(run.library.bias + offset + at);
    const variable = symbols[symbol];
    if (variable !== undefined && symbol !== 0 && variable.sectionIndex === SHN.SHN_UNDEF) continue;
    const distance = addend + (symbol === 0 ? 0n : (variable?.value ?? 0n));
    let block: bigint | undefined;
    if (type === types.tlsModule) {
      const id = word(0n);
      if (id > 0n && id < MOST_MODULES) block = blocks(id);
    } else if (type === types.tlsThreadOffset) {
      block = BigInt.asUintN(64, pointer + word(0n) - distance);
    } else if (type === types.tlsDescriptor) {
      // Of a module that was there at the start, the argument is the distance from the thread pointer.
      const argument = BigInt.asIntN(64, word(8n));
      if (argument < 0n) block = pointer + argument - distance;
    }
    if (block !== undefined && block !== 0n && block !== UNALLOCATED) return block;
  }
  return undefined;
}

function nameOf({ file, symbols }: LibraryFile, at: number): string {
  const table = file.sections.find(({ type }) => type === SHT.SHT_SYMTAB);
  const all: readonly ElfSymbol[] = table === undefined ? symbols : readSymbols(file, table);
  const found = all.find(
    ({ type, value, size }) => type === STT.STT_TLS && at >= Number(value) && at < Number(value) + size,
  );
  return found === undefined ? `the thread-local variable at 0x${at.toString(16)}` : found.name;
}
