/**
 * Contents of a process by its pid: process_vm_readv(2) for speed, /proc/PID/mem for what that refuses
 * (PROT_NONE), and the pagemap, which tells the pages that were never touched so that they are not even
 * read. Facts: proc(5), Documentation/admin-guide/mm/pagemap.rst.
 *
 * @module
 */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { UnexecError } from '../errors.ts';
import { type MemoryReader, type MemoryRegion, PAGE, type PageRange } from '../image.ts';
import { ERRNO } from './errno.ts';
import { fileStretches } from './file-stretches.ts';
import { addressOf, syscall } from './libc.ts';

/** Bit 63: present, bit 62: swapped (pagemap.rst). Read as the high byte of the entry. */
const PRESENT_OR_SWAPPED = 0xc0;
/** Bit 61: a page of a file, or shared. */
const FILE_PAGE = 0x20;
/** Entries read at once: 64 Ki pages, 512 KiB. */
const PAGEMAP_ENTRIES = 65536;

export class ProcessMemory implements MemoryReader {
  readonly #pid: number;
  readonly #mem: number;
  readonly #pagemap: number;
  readonly #pagemapBuffer = Buffer.alloc(PAGEMAP_ENTRIES * 8);
  readonly #local = new Uint8Array(16);
  readonly #remote = new Uint8Array(16);
  /** Regions without any populated page, by start address. */
  readonly #empty = new Set<bigint>();
  /** Mappings of memory objects, by start address. */
  readonly #objects = new Map<bigint, { readonly end: bigint; readonly offset: number }>();

  constructor(pid: number) {
    this.#pid = pid;
    this.#mem = openSync(`/proc/${pid}/mem`, 'r+');
    this.#pagemap = openSync(`/proc/${pid}/pagemap`, 'r');
  }

  close(): void {
    closeSync(this.#mem);
    closeSync(this.#pagemap);
  }

  /** smaps found nothing populated here: `touched` need not look. */
  markEmpty(start: bigint): void {
    this.#empty.add(start);
  }

  read(address: bigint, into: Uint8Array): void {
    let done = 0;
    while (done < into.length) {
      const read = this.#readSome(address + BigInt(done), into.subarray(done));
      if (read === 0) {
        // This page cannot be read, by either way: it lies beyond the end of its file.
        const page = Math.min(PAGE - Number((address + BigInt(done)) % BigInt(PAGE)), into.length - done);
        into.fill(0, done, done + page);
        done += page;
      }
      done += read;
    }
  }

  #readSome(address: bigint, into: Uint8Array): number {
    setIovec(this.#local, addressOf(into), into.length);
    setIovec(this.#remote, address, into.length);
    const read = syscall('process_vm_readv', this.#pid, this.#local, 1, this.#remote, 1, 0);
    if (read > 0) return read;
    if (read === -ERRNO.ESRCH) throw this.#gone();
    try {
      return readSync(this.#mem, into, 0, Math.min(into.length, PAGE), Number(address));
    } catch (cause) {
      if (cause instanceof Error && 'code' in cause && cause.code === 'EIO') return 0;
      throw new UnexecError('MEMORY_UNREADABLE', `memory of process ${this.#pid} cannot be read`, { cause });
    }
  }

  #gone(): UnexecError {
    return new UnexecError('PROCESS_GONE', `process ${this.#pid} ended while its memory was read`);
  }

  /**
   * A mapping of a memory object (memfd, shared anonymous memory), from this offset of it on: `touched` asks the
   * object, where we may open that, as large ones are often nearly empty.
   */
  markObject(start: bigint, end: bigint, offset: number): void {
    this.#objects.set(start, { end, offset });
  }

  /** Writes into the process, through any protection. */
  write(address: bigint, bytes: Uint8Array): void {
    writeSync(this.#mem, bytes, 0, bytes.length, Number(address));
  }

  /** Convenience: `length` bytes from `address`. */
  bytes(address: bigint, length: number): Uint8Array {
    const into = new Uint8Array(length);
    this.read(address, into);
    return into;
  }

  *touched(region: MemoryRegion): Iterable<PageRange> {
    const pages = region.size / PAGE;
    const backed = region.inode !== 0 || region.shared;
    if (backed) {
      yield* this.#pagesOfObject(region) ?? [{ first: 0, count: pages }];
      return;
    }
    if (this.#empty.has(region.start)) return;
    yield* this.#pages(region, flags => (flags & PRESENT_OR_SWAPPED) !== 0);
  }

  changed(region: MemoryRegion): Iterable<PageRange> {
    return this.#pages(region, flags => (flags & PRESENT_OR_SWAPPED) !== 0 && (flags & FILE_PAGE) === 0);
  }

  /** Pages by the high byte of their entries in the pagemap. */
  *#pages(region: MemoryRegion, isWanted: (flags: number) => boolean): Iterable<PageRange> {
    const pages = region.size / PAGE;
    const firstEntry = Number(region.start / BigInt(PAGE));
    let runStart = -1;
    for (let page = 0; page < pages; ) {
      const count = Math.min(PAGEMAP_ENTRIES, pages - page);
      const read = readSync(this.#pagemap, this.#pagemapBuffer, 0, count * 8, (firstEntry + page) * 8);
      const entries = Math.floor(read / 8);
      if (entries === 0) break;
      for (let i = 0; i < entries; i++) {
        const wanted = isWanted(this.#pagemapBuffer[i * 8 + 7] ?? 0);
        if (wanted && runStart < 0) runStart = page + i;
        if (!wanted && runStart >= 0) {
          yield { first: runStart, count: page + i - runStart };
          runStart = -1;
        }
      }
      page += entries;
    }
    if (runStart >= 0) yield { first: runStart, count: pages - runStart };
  }

  /** Undefined where the region is none, or we may not open it (map_files needs CAP_CHECKPOINT_RESTORE). */
  #pagesOfObject({ start, size }: MemoryRegion): PageRange[] | undefined {
    const object = this.#objects.get(start);
    if (object === undefined) return undefined;
    let fd: number;
    try {
      fd = openSync(`/proc/${this.#pid}/map_files/${start.toString(16)}-${object.end.toString(16)}`, 'r');
    } catch {
      return undefined;
    }
    try {
      return fileStretches(fd, object.offset, object.offset + size).map(stretch => {
        const first = Math.floor((stretch.offset - object.offset) / PAGE);
        return { first, count: Math.ceil((stretch.offset + stretch.size - object.offset) / PAGE) - first };
      });
    } finally {
      closeSync(fd);
    }
  }
}

function setIovec(iovec: Uint8Array, base: bigint, length: number): void {
  const view = new DataView(iovec.buffer);
  view.setBigUint64(0, base, true);
  view.setBigUint64(8, BigInt(length), true);
}
