/**
 * Fields of a manifest, whose types are checked: a damaged one may have anything, or nothing, where something is
 * expected.
 *
 * @module
 */
import { FormatError } from '../../formats/errors.ts';
import type { Address } from './model.ts';

/** An object of a manifest. Every method throws FormatError `MANIFEST_MALFORMED` for a field of another type. */
export class Fields {
  readonly #where: string;
  readonly #fields: ReadonlyMap<string, unknown>;

  /** `where` names the object in messages: empty for the manifest itself. */
  constructor(value: unknown, where = '') {
    this.#where = where;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw malformed(where || 'it', value, 'an object');
    }
    this.#fields = new Map(Object.entries(value));
  }

  /** Whether it is there at all. */
  has(name: string): boolean {
    return this.#fields.has(name);
  }

  text(name: string): string {
    const value = this.#fields.get(name);
    if (typeof value === 'string') return value;
    throw malformed(this.#path(name), value, 'a string');
  }

  textOrNull(name: string): string | null {
    return this.#fields.get(name) === null ? null : this.text(name);
  }

  /** A count, a size, a number that is no fraction and not negative. */
  whole(name: string): number {
    const value = this.#fields.get(name);
    if (isWhole(value)) return value;
    throw malformed(this.#path(name), value, 'a whole number');
  }

  address(name: string): Address {
    return `0x${this.bigAddress(name).toString(16)}`;
  }

  bigAddress(name: string): bigint {
    const value = this.#fields.get(name);
    if (typeof value === 'string' && /^0x[0-9a-f]{1,16}$/.test(value)) return BigInt(value);
    throw malformed(this.#path(name), value, 'an address');
  }

  object(name: string): Fields {
    return new Fields(this.#fields.get(name), this.#path(name));
  }

  objects(name: string): Fields[] {
    return this.#list(name).map((item, i) => new Fields(item, `${this.#path(name)}[${i}]`));
  }

  texts(name: string): string[] {
    return this.#list(name).map((item, i) => {
      if (typeof item === 'string') return item;
      throw malformed(`${this.#path(name)}[${i}]`, item, 'a string');
    });
  }

  wholes(name: string): number[] {
    return this.#list(name).map((item, i) => {
      if (isWhole(item)) return item;
      throw malformed(`${this.#path(name)}[${i}]`, item, 'a whole number');
    });
  }

  /** Every value that is no object and no list, by its path (`threads[0].tid`), as JSON. */
  leaves(): Map<string, string> {
    const leaves = new Map<string, string>();
    for (const [name, value] of this.#fields) addLeaves(leaves, this.#path(name), value, 0);
    return leaves;
  }

  #list(name: string): readonly unknown[] {
    const value = this.#fields.get(name);
    if (Array.isArray(value)) return value;
    throw malformed(this.#path(name), value, 'a list');
  }

  #path(name: string): string {
    return this.#where === '' ? name : `${this.#where}.${name}`;
  }
}

/** No manifest of ours is as deep. */
const MAX_DEPTH = 16;

function addLeaves(leaves: Map<string, string>, path: string, value: unknown, depth: number): void {
  if (depth > MAX_DEPTH) throw malformed(path.slice(0, 60), null, `at most ${MAX_DEPTH} levels`);
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) addLeaves(leaves, `${path}[${i}]`, item, depth + 1);
  } else if (typeof value === 'object' && value !== null) {
    for (const [name, item] of Object.entries(value)) addLeaves(leaves, `${path}.${name}`, item, depth + 1);
  } else {
    leaves.set(path, JSON.stringify(value) ?? 'null');
  }
}

/** The manifest in the payload of a note. @throws FormatError `MANIFEST_MALFORMED` */
export function manifestFields(desc: Uint8Array): Fields {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(desc));
  } catch (cause) {
    throw new FormatError('MANIFEST_MALFORMED', `manifest: ${String(cause)}, expected JSON in UTF-8`);
  }
  return new Fields(value);
}

const isWhole = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;

function malformed(what: string, found: unknown, expected: string): FormatError {
  const shown = found === undefined ? 'missing' : JSON.stringify(found).slice(0, 60);
  return new FormatError('MANIFEST_MALFORMED', `manifest: ${what} is ${shown}, expected ${expected}`);
}
