/**
 * Builds a restore program: steps in order, and the data that they refer to. Styles plan with it;
 * `layOut` turns both into the bytes of the restorer's window.
 *
 * @module
 */

import { UnexecError } from '../errors.ts';
import { ERRNO } from '../linux/errno.ts';
import type { SystemCall } from '../linux/system-calls.ts';
import type { Arch } from '../machine-state.ts';
import {
  type DataRef,
  encodeSteps,
  type LabelRef,
  type OpName,
  SLOT,
  SLOT_COUNT,
  type Slot,
  type Step,
  type StepArgument,
  step as stepStruct,
} from './steps.ts';

/** Options of a step. */
export interface StepOptions {
  /** A best-effort step is skipped where the kernel refuses. */
  readonly bestEffort?: boolean;
  /** Keeps the result. */
  readonly into?: Slot;
}

interface Piece {
  readonly bytes: Uint8Array;
  readonly align: number;
  /** Steps write here: kept on the page of the slots while there is room, as each page costs a copy. */
  readonly written: boolean;
  offset: number;
}

const PAGE = 4096;
/** Bytes of `: ESOCKTNOSUPPORT`, the longest, rounded up. */
const ERRNO_ENTRY = 32;
/** Exit status of an image that cannot resume. */
const CANNOT_RESUME = 125;

export class RestoreProgram {
  /** What it runs on: numbers of system calls, and what styles ask to lay out structs. */
  readonly arch: Arch;
  readonly steps: Step[] = [];
  readonly #pieces: Piece[] = [];
  readonly #pointers: { readonly at: DataRef; readonly to: DataRef }[] = [];
  #slots: number = SLOT.FIRST_FREE;
  #pendingLabel: string | undefined;

  constructor(arch: Arch) {
    this.arch = arch;
  }

  /** A slot of its own. */
  slot(): Slot {
    if (this.#slots >= SLOT_COUNT) {
      throw new UnexecError('TOO_MANY_SLOTS', `the restore program needs more than ${SLOT_COUNT} slots`, {
        hint: 'the process has more threads or files than the resume style can take',
      });
    }
    return { slot: this.#slots++ };
  }

  /** Bytes that travel with the program, and that steps read. */
  data(bytes: Uint8Array, align = 8): DataRef {
    return this.#piece(bytes, align, false);
  }

  /** Bytes that steps, or the kernel on their behalf, write. */
  writable(bytes: Uint8Array, align = 8): DataRef {
    return this.#piece(bytes, align, true);
  }

  #piece(bytes: Uint8Array, align: number, written: boolean): DataRef {
    this.#pieces.push({ bytes, align, written, offset: 0 });
    return { data: this.#pieces.length - 1, offset: 0 };
  }

  /** Has a word of the data hold the address of other data. */
  pointer(at: DataRef, to: DataRef): void {
    this.#pointers.push({ at, to });
  }

  /** A string with its final zero. */
  string(text: string): DataRef {
    return this.data(Buffer.from(`${text}\0`), 1);
  }

  /** Names the step that is added next, for those that refer to it (CLONE, SLOT.FALLBACK). */
  labelNext(label: string): void {
    this.#pendingLabel = label;
  }

  /** A system call. Required unless `bestEffort`. */
  syscall(name: string, nr: SystemCall, args: readonly StepArgument[], options: StepOptions = {}): void {
    this.#add('SYSCALL', name, args, options, nr);
  }

  /** Any other operation; `args` as x86_64.S documents them. */
  operation(
    op: OpName,
    name: string,
    args: readonly StepArgument[],
    options: StepOptions = {},
    nr?: SystemCall,
  ): void {
    this.#add(op, name, args, options, nr);
  }

  /**
   * Steps that run only where the condition holds. The condition is one of the operations that skip
   * (COMPARE, AT_MOST, HAS_BITS, CPUID, XGETBV, LZ4), with its arguments up to the count of steps to skip.
   */
  when(
    op: OpName,
    name: string,
    args: readonly StepArgument[],
    then: () => void,
    otherwise?: () => void,
  ): void {
    const at = this.steps.length;
    this.#add(op, name, args, { bestEffort: true });
    then();
    if (otherwise !== undefined) {
      const jump = this.steps.length;
      this.#add('AT_MOST', 'skip', [1, 0], { bestEffort: true });
      this.#setSkip(at, args.length);
      otherwise();
      this.#setSkip(jump, 2);
    } else {
      this.#setSkip(at, args.length);
    }
  }

  /** Steps that run only where the condition does not hold. */
  unless(op: OpName, name: string, args: readonly StepArgument[], then: () => void): void {
    this.when(op, name, args, () => {}, then);
  }

  /** Steps that are repeated until a condition, as `when` takes it, holds after them. */
  until(op: OpName, name: string, args: readonly StepArgument[], body: () => void): void {
    const start = this.steps.length;
    body();
    // Steps are skipped from the one after the condition on: backwards, the condition itself counts too.
    this.#add(op, name, [...args, start - this.steps.length - 1], { bestEffort: true });
  }

  #setSkip(at: number, index: number): void {
    const item = this.steps[at];
    if (item === undefined) return;
    this.steps[at] = { ...item, args: [...item.args.slice(0, index), this.steps.length - at - 1] };
  }

  #add(op: OpName, name: string, args: readonly StepArgument[], options: StepOptions, nr?: SystemCall): void {
    this.steps.push({
      op,
      name,
      args,
      nr,
      required: options.bestEffort !== true,
      dst: options.into?.slot ?? SLOT.DISCARD,
      ...(this.#pendingLabel === undefined ? {} : { label: this.#pendingLabel }),
    });
    this.#pendingLabel = undefined;
  }

  /**
   * The bytes of the data window, whose first page holds the slots, when it is at `address`: slots,
   * data, steps, and at the end what only a failure reads (names of steps and errors).
   */
  layOut(address: bigint, prefix: string): { bytes: Uint8Array; steps: { address: bigint; size: number } } {
    const prefixRef = this.string(prefix);
    const end = this.#placePieces();
    const stepsAt = roundUp(end, 64);
    const names = encodeNames(this.steps);
    const namesAt = stepsAt + this.steps.length * stepStruct.size;
    const errnosAt = roundUp(namesAt + names.length, 16);
    const errnos = encodeErrnos();
    const bytes = new Uint8Array(errnosAt + errnos.length);

    const labels = new Map(
      this.steps.flatMap((item, i) => (item.label === undefined ? [] : [[item.label, i]])),
    );
    const resolve = (ref: DataRef | LabelRef): bigint => {
      if ('data' in ref) return address + BigInt((this.#pieces[ref.data]?.offset ?? 0) + ref.offset);
      const index = labels.get(ref.label);
      if (index === undefined)
        throw new UnexecError('INTERNAL', `restore program: no step has label ${ref.label}`);
      return address + BigInt(stepsAt + index * stepStruct.size);
    };
    for (const piece of this.#pieces) bytes.set(piece.bytes, piece.offset);
    for (const { at, to } of this.#pointers) {
      new DataView(bytes.buffer).setBigUint64(Number(resolve(at) - address), resolve(to), true);
    }
    bytes.set(encodeSteps(this.steps, this.arch, resolve), stepsAt);
    bytes.set(names, namesAt);
    bytes.set(errnos, errnosAt);

    const view = new DataView(bytes.buffer);
    const setSlot = (slot: number, value: bigint): void => view.setBigUint64(slot * 8, value, true);
    setSlot(SLOT.PROGRAM, address + BigInt(stepsAt));
    setSlot(SLOT.NAMES, address + BigInt(namesAt));
    setSlot(SLOT.ERRNOS, address + BigInt(errnosAt));
    setSlot(SLOT.PREFIX, resolve(prefixRef));
    setSlot(SLOT.PREFIX_LENGTH, BigInt(Buffer.byteLength(prefix)));
    setSlot(SLOT.ERRNO_COUNT, BigInt(errnos.length / ERRNO_ENTRY));
    setSlot(SLOT.EXIT_STATUS, BigInt(CANNOT_RESUME));
    return {
      bytes,
      steps: { address: address + BigInt(stepsAt), size: this.steps.length * stepStruct.size },
    };
  }

  /** Gives each piece its place; returns the end of the last one. */
  #placePieces(): number {
    let afterSlots = this.#slots * 8;
    let end = PAGE;
    for (const piece of this.#pieces) {
      const near = roundUp(afterSlots, piece.align);
      if (piece.written && near + piece.bytes.length <= SLOT_COUNT * 8) {
        piece.offset = near;
        afterSlots = near + piece.bytes.length;
      } else {
        piece.offset = roundUp(end, piece.align);
        end = piece.offset + piece.bytes.length;
      }
    }
    return end;
  }
}

/** A table of {offset, length} from its own start, one a step, then the names. */
function encodeNames(steps: readonly Step[]): Uint8Array {
  const table = new Uint8Array(steps.length * 8);
  const view = new DataView(table.buffer);
  const known = new Map<string, { at: number; length: number }>();
  const parts: Uint8Array[] = [table];
  let end = table.length;
  for (const [i, { name }] of steps.entries()) {
    let entry = known.get(name);
    if (entry === undefined) {
      const bytes = Buffer.from(name);
      entry = { at: end, length: bytes.length };
      known.set(name, entry);
      parts.push(bytes);
      end += bytes.length;
    }
    view.setUint32(i * 8, entry.at, true);
    view.setUint32(i * 8 + 4, entry.length, true);
  }
  return Buffer.concat(parts);
}

/** 32 bytes an error number: `: ENOENT`. */
function encodeErrnos(): Uint8Array {
  const entries = Object.entries(ERRNO);
  const out = new Uint8Array((Math.max(...entries.map(([, number]) => number)) + 1) * ERRNO_ENTRY);
  for (const [name, number] of entries) {
    out.set(Buffer.from(`: ${name}`), number * ERRNO_ENTRY);
  }
  return out;
}

const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to;
