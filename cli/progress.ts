/**
 * One line on a terminal that tells how far long work is: bytes and speed. It is wiped at the end. A program that is
 * frozen stands still while it is shown, so nothing else writes in between.
 *
 * @module
 */
import { formatBytes } from './render.ts';

export interface ProgressOutput {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** Work that is over sooner needs no progress. Milliseconds. */
const SHOW_AFTER = 300;
/** Least time between two updates. Milliseconds. */
const INTERVAL = 100;
const WIPE_LINE = '\r\x1b[K';

export class ProgressLine {
  readonly #output: ProgressOutput;
  readonly #verb: string;
  readonly #now: () => number;
  #startedAt: number | undefined;
  #drawnAt = Number.NEGATIVE_INFINITY;
  #shown = false;

  /** Writes to terminals only. `verb`: what is done; `now` gives milliseconds. */
  constructor(output: ProgressOutput, verb: string, now: () => number = () => performance.now()) {
    this.#output = output;
    this.#verb = verb;
    this.#now = now;
  }

  /** Bytes done, of all. */
  update(done: number, total: number): void {
    if (this.#output.isTTY !== true) return;
    const now = this.#now();
    this.#startedAt ??= now;
    const elapsed = now - this.#startedAt;
    if (elapsed < SHOW_AFTER || now - this.#drawnAt < INTERVAL) return;
    this.#drawnAt = now;
    this.#shown = true;
    const percent = total === 0 ? 100 : Math.floor((100 * done) / total);
    const speed = formatBytes((done * 1000) / elapsed);
    this.#output.write(
      `${WIPE_LINE}${this.#verb} ${formatBytes(done)} of ${formatBytes(total)} (${percent}%), ${speed}/s`,
    );
  }

  /** Wipes the line, if there is one. */
  end(): void {
    if (this.#shown) this.#output.write(WIPE_LINE);
    this.#shown = false;
    this.#startedAt = undefined;
    this.#drawnAt = Number.NEGATIVE_INFINITY;
  }
}
