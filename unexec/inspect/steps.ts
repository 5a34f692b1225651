/**
 * The restore program as it is in the file: records and names of `restorer/program.ts`, read back.
 *
 * @module
 */
import { contentsSize, readContents } from '../../formats/contents.ts';
import { atAddress, type ElfFile, EM, findSection } from '../../formats/elf/index.ts';
import { FormatError, hex } from '../../formats/errors.ts';
import { type Value, viewOf } from '../../formats/struct.ts';
import { nameOfCall } from '../linux/system-calls.ts';
import type { Arch } from '../machine-state.ts';
import { OP, SLOT, step } from '../restorer/steps.ts';
import type { InspectedStep } from './model.ts';

const OPS: readonly string[] = Object.keys(OP);
const REQUIRED = 1;
/** Bit of `mask`: `nr` is the number of a slot. */
const NR_BIT = 6;
/** An entry of the table of names: offset from the table's start, length. */
const NAME_ENTRY = 8;
/** No step has as long a name. */
const MAX_NAME = 0x2000;

/**
 * The steps at an address, `size` bytes of them, in order.
 *
 * @throws FormatError `STEPS_MALFORMED` for what no writer of ours leaves
 */
export function readSteps(file: ElfFile, address: bigint, size: number): InspectedStep[] {
  if (size % step.size !== 0) throw malformed(address, 'size', size, `a multiple of ${step.size}`);
  const view = viewOf(bytesAt(file, address, size));
  const arch = file.header.machine === EM.EM_AARCH64 ? 'aarch64' : 'x86_64';
  const nameOf = namesOf(file, size / step.size);
  return Array.from({ length: size / step.size }, (_, i) => {
    const record = step.read(view, i * step.size, true);
    const op = OPS[record.op];
    if (op === undefined) {
      throw malformed(address + BigInt(i * step.size), 'op', record.op, `at most ${OPS.length - 1}`);
    }
    return {
      op,
      required: (record.flags & REQUIRED) !== 0,
      name: nameOf(i),
      call: op === 'SYSCALL' ? callOf(record, arch) : null,
      args: argumentsOf(record),
      result: record.dst === SLOT.DISCARD ? null : `$${record.dst}`,
    };
  });
}

function callOf({ nr, mask }: Value<typeof step>, arch: Arch): string {
  if ((mask & (1 << NR_BIT)) !== 0) return `$${nr}`;
  return nameOfCall(Number(nr), arch) ?? `${nr}`;
}

/** Without the zeros at the end, which nobody gave. */
function argumentsOf({ args, mask }: Value<typeof step>): string[] {
  const shown = args.map((value, n) => ((mask & (1 << n)) === 0 ? hex(value) : `$${value}`));
  const last = shown.findLastIndex(text => text !== '0x0');
  return shown.slice(0, last + 1);
}

/** The name of each step, out of the table that a slot leads to. */
function namesOf(file: ElfFile, count: number): (index: number) => string {
  const data = findSection(file, '.unexec.data');
  if (data === undefined) throw new FormatError('STEPS_MALFORMED', 'the image has no section .unexec.data');
  const slot = bytesAt(file, data.address + BigInt(SLOT.NAMES * 8), 8);
  const table = viewOf(slot).getBigUint64(0, true);
  const entries = viewOf(bytesAt(file, table, count * NAME_ENTRY));
  const decoder = new TextDecoder();
  return index => {
    const at = entries.getUint32(index * NAME_ENTRY, true);
    const length = entries.getUint32(index * NAME_ENTRY + 4, true);
    if (length > MAX_NAME) throw malformed(table, `length of name ${index}`, length, `at most ${MAX_NAME}`);
    return decoder.decode(bytesAt(file, table + BigInt(at), length));
  };
}

function bytesAt(file: ElfFile, address: bigint, size: number): Uint8Array {
  const contents = atAddress(file, address);
  if (contents !== undefined && contentsSize(contents) >= size) return readContents(contents, 0, size);
  const message = `the restore program refers to ${size} bytes at ${hex(address)}, expected them within a segment`;
  throw new FormatError('STEPS_MALFORMED', message, { value: address });
}

const malformed = (at: bigint, what: string, value: number, expected: string): FormatError =>
  new FormatError(
    'STEPS_MALFORMED',
    `restore program at ${hex(at)}: ${what} is ${value}, expected ${expected}`,
    { value },
  );
