/**
 * One of the two that are compared, whatever it is: areas of memory with names, a reader of them, symbols, and what
 * is known of it beside.
 *
 * @module
 */
import type { ByteSource, Part } from '../../formats/describe/index.ts';
import type { Arch, MemoryReader, MemoryRegion } from '../image.ts';
import type { Fields } from '../inspect/fields.ts';
import type { InspectedStep } from '../inspect/model.ts';
import type { RunFacts } from '../pointers/diagnose.ts';
import type { DiffSide } from './model.ts';

export interface Side {
  readonly told: DiffSide;
  readonly arch: Arch;
  /** By address, disjoint. */
  readonly areas: readonly Area[];
  readonly memory: MemoryReader;
  /** By address. Read when it is first called. */
  readonly symbols: () => readonly SymbolSpan[];
  readonly facts: RunFacts;
  /** What unexec has noted of it. */
  readonly manifest: Fields | undefined;
  readonly steps: readonly InspectedStep[] | undefined;
  /** Of a file: itself, and what of it is in no area. */
  readonly file: { readonly source: ByteSource; readonly parts: readonly Part[] } | undefined;
  close(): Promise<void>;
}

export interface Area extends MemoryRegion {
  readonly kind: string;
  /** False where there are no contents to compare: the kernel gives it to each process, or the file leaves it out. */
  readonly isCompared: boolean;
  /** What the file does not store of it is in another file. */
  readonly leavesPages: boolean;
}

export interface SymbolSpan {
  readonly name: string;
  readonly address: bigint;
  /** Bytes. */
  readonly size: number;
}

/** `rw-p`, as in /proc/PID/maps. */
export const protectionOf = ({ read, write, execute, shared }: MemoryRegion): string =>
  [read ? 'r' : '-', write ? 'w' : '-', execute ? 'x' : '-', shared ? 's' : 'p'].join('');
