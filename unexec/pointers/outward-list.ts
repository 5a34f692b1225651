/**
 * Pointers that lead out of the image: all of them, because each has to become a symbolic relocation or a
 * bind, and a program may have a hundred thousand pointers to functions of libc.
 *
 * @module
 */
import { OffsetList } from './offset-list.ts';

/** Three lists of the same length. */
export interface OutwardSlots {
  /** Offsets of the pointers in their range, ascending. */
  readonly offsets: Float64Array;
  /** Index of the module that each leads to. */
  readonly modules: Float64Array;
  /** Where in the module: bytes from its start. */
  readonly targets: Float64Array;
}

export class OutwardList {
  readonly #offsets = new OffsetList();
  readonly #modules = new OffsetList();
  readonly #targets = new OffsetList();

  get length(): number {
    return this.#offsets.length;
  }

  push(offset: number, module: number, target: number): void {
    this.#offsets.push(offset);
    this.#modules.push(module);
    this.#targets.push(target);
  }

  finish(): OutwardSlots {
    const offsets = this.#offsets.finish();
    const modules = this.#modules.finish();
    const targets = this.#targets.finish();
    if (offsets.every((offset, i) => i === 0 || offset > (offsets[i - 1] ?? 0))) {
      return { offsets, modules, targets };
    }
    // Those that are not aligned were found after the aligned ones of their chunk.
    const order = Uint32Array.from(offsets.keys()).sort((i, j) => (offsets[i] ?? 0) - (offsets[j] ?? 0));
    const sorted = (values: Float64Array): Float64Array => Float64Array.from(order, i => values[i] ?? 0);
    return { offsets: sorted(offsets), modules: sorted(modules), targets: sorted(targets) };
  }
}
