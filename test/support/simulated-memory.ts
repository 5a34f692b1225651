/**
 * What a restore program makes of an address space, without running it: its mmap, munmap and pread steps
 * applied one by one to pages.
 *
 * @module
 */
import { PAGE, PAGE_BIG } from '../../unexec/image.ts';
import type { RestoreProgram } from '../../unexec/restorer/program.ts';
import type { Slot, StepArgument } from '../../unexec/restorer/steps.ts';
import { NR } from '../../unexec/styles/resume/system-calls.ts';

const PROT_WRITE = 2;
const MAP_ANONYMOUS = 0x20;
const MAP_FIXED = 0x10;

export interface SimulatedPage {
  readonly protection: number;
  readonly flags: number;
  /** What it holds; a page of a file is a copy of it. */
  readonly contents: Uint8Array;
}

/** Address of a page -> the page. */
export type SimulatedMemory = ReadonlyMap<bigint, SimulatedPage>;

/** Applies the steps to an empty address space; `file` is the image, whose descriptor is in `self`. */
export function simulate(program: RestoreProgram, file: Uint8Array, self: Slot): SimulatedMemory {
  const pages = new Map<bigint, SimulatedPage>();
  const eachPage = (start: bigint, size: bigint, visit: (page: bigint, at: number) => void): void => {
    if (start % PAGE_BIG !== 0n || size <= 0n) throw new Error(`bad range 0x${start.toString(16)} + ${size}`);
    for (let at = 0n; at < size; at += PAGE_BIG) visit(start + at, Number(at));
  };
  const filePage = (offset: number): Uint8Array => {
    const part = file.subarray(offset, offset + PAGE);
    if (part.length === PAGE) return part;
    const bytes = new Uint8Array(PAGE);
    bytes.set(part);
    return bytes;
  };
  for (const { op, nr, args, name } of program.steps) {
    if (op === 'SYNC_CODE') continue;
    if (op !== 'SYSCALL') throw new Error(`step ${name} is no system call`);
    const value = (index: number): bigint => constant(args[index] ?? 0, self);
    switch (nr) {
      case NR.mmap: {
        const [start, size, protection, flags] = [value(0), value(1), Number(value(2)), Number(value(3))];
        const [fd, offset] = [value(4), Number(value(5))];
        const anonymous = (flags & MAP_ANONYMOUS) !== 0;
        if ((flags & MAP_FIXED) === 0) throw new Error(`${name} is mapped anywhere`);
        if (anonymous !== (fd === -1n)) throw new Error(`${name} has descriptor ${fd}`);
        if (!anonymous && offset + Number(size) > Math.ceil(file.length / PAGE) * PAGE) {
          throw new Error(`${name} is mapped beyond the end of the file`);
        }
        eachPage(start, size, (page, at) => {
          const contents = anonymous ? ZEROS : filePage(offset + at);
          pages.set(page, { protection, flags, contents });
        });
        break;
      }
      case NR.munmap:
        eachPage(value(0), value(1), page => pages.delete(page));
        break;
      case NR.pread64: {
        const [into, size, offset] = [value(1), value(2), Number(value(3))];
        if (size % PAGE_BIG !== 0n) throw new Error(`${name} reads a part of a page`);
        eachPage(into, size, (page, at) => {
          const mapped = pages.get(page);
          if (mapped === undefined) throw new Error(`${name} reads to 0x${page.toString(16)}, unmapped`);
          if ((mapped.protection & PROT_WRITE) === 0) throw new Error(`${name} reads into read-only memory`);
          pages.set(page, { ...mapped, contents: filePage(offset + at) });
        });
        break;
      }
      case NR.mprotect: {
        const protection = Number(value(2));
        eachPage(value(0), value(1), page => {
          const mapped = pages.get(page);
          if (mapped === undefined) throw new Error(`${name} of 0x${page.toString(16)}, unmapped`);
          pages.set(page, { ...mapped, protection });
        });
        break;
      }
      case NR.madvise:
      case NR.mlock:
        eachPage(value(0), value(1), page => {
          if (!pages.has(page)) throw new Error(`${name} of 0x${page.toString(16)}, unmapped`);
        });
        break;
      default:
        throw new Error(`step ${name} has an unexpected number ${nr}`);
    }
  }
  return pages;
}

const ZEROS = new Uint8Array(PAGE);

function constant(argument: StepArgument, self: Slot): bigint {
  if (typeof argument === 'bigint' || typeof argument === 'number') return BigInt(argument);
  if ('slot' in argument && argument.slot === self.slot) return BigInt(argument.slot);
  throw new Error('an argument is neither constant nor the image');
}
