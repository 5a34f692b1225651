/**
 * A descriptor that cannot be kept: thrown where that is found, and collected, so that all of them are
 * told at once.
 *
 * @module
 */
import type { Reason } from '../errors.ts';
import { fdOf, type HeldFile } from './held-file.ts';

export class Refusal extends Error {
  readonly reason: Reason;

  constructor(reason: Reason) {
    super(reason.what);
    this.reason = reason;
  }
}

/** Refuses a file: what it is, and what to do (default: close it, or leave it out). */
export function refuse(file: HeldFile, code: string, noun: string, remedy?: string): never {
  const link = noun.includes(file.link) ? '' : ` (${file.link})`;
  throw new Refusal({
    code,
    what: `descriptor ${fdOf(file)} is ${noun}${link}`,
    remedy: remedy ?? `close it before the freeze point, or ${leaveOut(file)}`,
  });
}

/** How a user leaves a file out: with all its descriptors. */
export const leaveOut = (file: HeldFile): string =>
  `leave it out with ${file.descriptors.map(({ fd }) => `--drop-fd ${fd}`).join(' ')}`;
