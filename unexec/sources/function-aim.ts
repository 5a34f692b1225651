/**
 * Finds where to put a breakpoint for `main` or `symbol:NAME`, which takes a few steps: at the program's
 * entry all its libraries are mapped and relocated; a stripped program only tells libc where its main
 * is; a function of a library that is opened later appears after one of the calls of _dl_debug_state,
 * by which ld.so tells debuggers of it (link.h, `struct r_debug`).
 *
 * @module
 */
import { STT } from '../../formats/elf/index.ts';
import { UnexecError } from '../errors.ts';
import { type FreezePoint, freezePointText } from '../freeze-point.ts';
import type { Module } from '../image.ts';
import { ARCHITECTURE } from '../linux/arch.ts';
import type { Breakpoints } from '../linux/breakpoints.ts';
import type { ProcessMemory } from '../linux/memory.ts';
import { findModules } from '../linux/modules.ts';
import { parseSmaps, readAuxv, readProc } from '../linux/proc.ts';
import { findSymbol } from '../module-symbols.ts';

const AT_ENTRY = 9;

export class FunctionAim {
  readonly #pid: number;
  readonly #point: FreezePoint;
  readonly #memory: ProcessMemory;
  readonly #breakpoints: Breakpoints;
  readonly #entry: bigint | undefined;
  #startMain: bigint | undefined;
  #linkMap: bigint | undefined;
  #target: bigint | undefined;

  /** `isRunning`: its entry has been passed; otherwise the program has just been loaded. */
  constructor(
    pid: number,
    point: FreezePoint,
    memory: ProcessMemory,
    breakpoints: Breakpoints,
    isRunning: boolean,
  ) {
    this.#pid = pid;
    this.#point = point;
    this.#memory = memory;
    this.#breakpoints = breakpoints;
    this.#entry = readAuxv(pid).values.get(AT_ENTRY);
    if (isRunning) this.#aimAtSymbol();
    else if (this.#entry !== undefined) breakpoints.insert(this.#entry);
  }

  /**
   * A thread stands at one of the breakpoints. Whether it is the function itself.
   *
   * @throws UnexecError `SYMBOL_NOT_FOUND`, `SYMBOL_IS_IFUNC`
   */
  hit(tid: number, address: bigint): boolean {
    if (address === this.#target) return true;
    if (address === this.#startMain) {
      this.#breakpoints.remove(address);
      this.#aim(ARCHITECTURE.firstArgument(ARCHITECTURE.getRegisters(tid)));
    } else if (address === this.#linkMap) {
      this.#breakpoints.stepOver(tid, address);
      this.#aimAtSymbol();
    } else if (address === this.#entry) {
      this.#breakpoints.remove(address);
      if (this.#point.type === 'main') this.#aimAtMain();
      else this.#aimAtSymbol();
    }
    return false;
  }

  /** The function has been found, if it has not been called. */
  get found(): boolean {
    return this.#target !== undefined;
  }

  notFound(how: string): UnexecError {
    const what = freezePointText(this.#point);
    return new UnexecError('SYMBOL_NOT_FOUND', `${what} was not found: ${how}`, {
      hint: 'is it stripped? nm -D PROGRAM lists what a stripped one still tells',
    });
  }

  #aim(address: bigint): void {
    this.#target = address;
    this.#breakpoints.insert(address);
  }

  #modules(): Module[] {
    const mappings = parseSmaps(readProc(`/proc/${this.#pid}/smaps`));
    return findModules(mappings, this.#memory, this.#entry ?? 0n);
  }

  #aimAtMain(): void {
    const modules = this.#modules();
    const main = findSymbol(modules.slice(0, 1), 'main');
    if (main !== undefined) {
      this.#aim(main.address);
      return;
    }
    const start = findSymbol(modules, '__libc_start_main');
    if (start === undefined) {
      throw new UnexecError(
        'SYMBOL_NOT_FOUND',
        'the program has neither a symbol main nor a libc that would call it',
        {
          hint: 'a static, stripped program needs another freeze point: symbol:, output:, stop, request',
        },
      );
    }
    this.#startMain = start.address;
    this.#breakpoints.insert(start.address);
  }

  #aimAtSymbol(): void {
    if (this.#point.type !== 'symbol') return;
    const modules = this.#modules();
    const symbol = findSymbol(modules, this.#point.name);
    if (symbol?.type === STT.STT_GNU_IFUNC) {
      throw new UnexecError(
        'SYMBOL_IS_IFUNC',
        `${this.#point.name} is chosen at run time among several functions`,
        {
          hint: 'name the function that is chosen, or another one',
        },
      );
    }
    if (symbol !== undefined) {
      if (this.#linkMap !== undefined) this.#breakpoints.remove(this.#linkMap);
      this.#aim(symbol.address);
      return;
    }
    if (this.#linkMap !== undefined) return;
    this.#linkMap = findSymbol(modules, '_dl_debug_state')?.address;
    if (this.#linkMap === undefined) {
      throw this.notFound('the program has no such function');
    }
    this.#breakpoints.insert(this.#linkMap);
  }
}
