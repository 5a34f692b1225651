/**
 * A process image without its memory, as bytes: what our own cores hold beyond what any core does (a note, owner
 * `unexec`, type 4), so that nothing has to be assumed when one is frozen. JSON, with forms of its own for what
 * JSON lacks; read again by the version that wrote it only, and where not a byte has changed.
 *
 * @module
 */
import { createHash } from 'node:crypto';
import { UnexecError } from './errors.ts';
import type { HeldContents, MemoryReader, OpenFile, ProcessImage } from './image.ts';
import { VERSION } from './version.ts';

/** Contents of files without names are part of the state, and base64. */
const MOST_CONTENTS = 16 << 20;
const HASH_SIZE = 32;

/** SHA-256 of what follows, and what follows. @throws UnexecError `TOO_MUCH_STATE` */
export function encodeState(image: ProcessImage): Uint8Array {
  const { memory: _, ...state } = image;
  const files = state.files.map(withContents);
  const text = JSON.stringify({ version: VERSION, state: { ...state, files } }, encodeValue);
  const body = Buffer.from(text);
  return Buffer.concat([createHash('sha256').update(body).digest(), body]);
}

/** The image again, with this memory; undefined: another version wrote it, or it is damaged. */
export function decodeState(bytes: Uint8Array, memory: MemoryReader): ProcessImage | undefined {
  const body = bytes.subarray(HASH_SIZE);
  const hash = createHash('sha256').update(body).digest();
  if (!hash.equals(bytes.subarray(0, HASH_SIZE))) return undefined;
  try {
    // Hash and version tell damage from what encodeState wrote. A forger can make both: see `forgedState`.
    const { version, state }: Encoding = JSON.parse(Buffer.from(body).toString(), decodeValue);
    return version === VERSION ? { ...state, files: state.files.map(withReader), memory } : undefined;
  } catch {
    return undefined;
  }
}

/**
 * What an error says that came up with a decoded state: those of the engine (TypeError, RangeError, …) mean that the state is
 * of another shape than encodeState gives it. To check each of its hundreds of fields would say no more.
 */
export function forgedState(path: string, error: unknown): unknown {
  const isEngines = error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError;
  if (!isEngines) return error;
  return new UnexecError(
    'CORE_STATE_MALFORMED',
    `${path}: what its note says of the process makes no sense (${error.message})`,
    {
      path,
      hint: 'take the core again; without its note of unexec it is frozen as any core is',
      cause: error,
    },
  );
}

interface Encoding {
  readonly version: string;
  readonly state: Omit<ProcessImage, 'memory'>;
}

type Encoded = { readonly $: 'bigint' | 'bytes' | 'set'; readonly value: unknown };

/** JSON.stringify hands what has a toJSON (Buffer) over already changed: `this` has the value itself. */
function encodeValue(this: unknown, key: string, given: unknown): unknown {
  const value: unknown = typeof this === 'object' && this !== null ? Reflect.get(this, key) : given;
  if (typeof value === 'bigint') return encoded('bigint', value.toString());
  if (value instanceof Uint8Array) return encoded('bytes', Buffer.from(value).toString('base64'));
  if (value instanceof Set) return encoded('set', [...value]);
  return value;
}

const encoded = ($: Encoded['$'], value: unknown): Encoded => ({ $, value });

function decodeValue(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('$' in value) || !('value' in value)) return value;
  switch (value.$) {
    case 'bigint':
      return BigInt(String(value.value));
    case 'bytes':
      return new Uint8Array(Buffer.from(String(value.value), 'base64'));
    case 'set':
      return new Set(Array.isArray(value.value) ? value.value : []);
    default:
      return value;
  }
}

/** Contents of a file without a name: stretches of bytes. */
type Held = readonly { readonly offset: number; readonly bytes: Uint8Array }[];

/** Contents as data, in place of the reader. */
function withContents(file: OpenFile): unknown {
  const { what } = file;
  if (what.type !== 'memory') return file;
  const held: Held = what.contents.stretches().map(({ offset, size }) => {
    if (size > MOST_CONTENTS) {
      throw new UnexecError(
        'TOO_MUCH_STATE',
        `${what.name} holds ${size} bytes, expected at most ${MOST_CONTENTS}`,
        {
          hint: 'leave it out: --drop-fd',
        },
      );
    }
    const bytes = new Uint8Array(size);
    for (let filled = 0; filled < size; ) {
      const read = what.contents.read(offset + filled, bytes.subarray(filled));
      if (read === 0) break;
      filled += read;
    }
    return { offset, bytes };
  });
  return { ...file, what: { ...what, contents: held } };
}

function withReader(
  file: OpenFile & { readonly what: { readonly contents?: Held | HeldContents } },
): OpenFile {
  const { what } = file;
  if (what.type !== 'memory' || !Array.isArray(what.contents)) return file;
  const held: Held = what.contents;
  const contents: HeldContents = {
    stretches: () => held.map(({ offset, bytes }) => ({ offset, size: bytes.length })),
    read(at, into) {
      into.fill(0);
      for (const { offset, bytes } of held) {
        const from = Math.max(at, offset);
        const to = Math.min(at + into.length, offset + bytes.length);
        if (to > from) into.set(bytes.subarray(from - offset, to - offset), from - at);
      }
      return into.length;
    },
    close: () => {},
  };
  return { ...file, what: { ...what, contents } };
}
