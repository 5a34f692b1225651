/**
 * Looks for what looks like a credential, in every byte of a file: what a process had in its memory when it was frozen
 * travels with the file. Values are never reported in full.
 *
 * The file is read a MiB at a time, so memory stays bounded however large it is; pages of zeros are passed over.
 *
 * @module
 */
import { type ByteSource, describeFile, type MemoryPart, type Part } from '../../formats/describe/index.ts';
import { readElf } from '../../formats/elf/index.ts';
import {
  COMPRESSED_SECTION,
  type CompressedStretch,
  compressedBlocks,
  compressedStretches,
  StretchSource,
} from '../compressed-memory.ts';
import { type FileSource, openRegularFile } from '../file-source.ts';
import type { FoundSecret, SecretsReport } from './model.ts';
import { MAX_BEFORE, MAX_MATCH, SECRET_PATTERNS, type SecretPattern } from './secret-patterns.ts';

/** Read at once. */
const CHUNK = 1 << 20;
const PAGE = 4096;
/** So many are reported; all are counted. */
const MOST_REPORTED = 1000;

export interface FindSecretsOptions {
  readonly signal?: AbortSignal;
  /** Called every MiB with the bytes that have been looked at, and all that there are. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * What looks like a credential in the file at `path`, in the order of the file.
 *
 * @throws UnexecError `FILE_UNREADABLE`; FormatError for a file that makes no sense; the signal's reason
 */
export async function findSecrets(path: string, options: FindSecretsOptions = {}): Promise<SecretsReport> {
  const { signal, onProgress } = options;
  const source = openRegularFile(path);
  try {
    const secrets: FoundSecret[] = [];
    let count = 0;
    let done = 0;
    for (const { from, stretch } of searched(source)) {
      for (const found of secretsIn(from, stretch)) {
        if (found === 'pause') {
          await new Promise(setImmediate);
          signal?.throwIfAborted();
          done = Math.min(done + CHUNK, source.size);
          onProgress?.(done, source.size);
          continue;
        }
        count++;
        if (secrets.length < MOST_REPORTED) secrets.push(found);
      }
    }
    return { version: 1, path, count, secrets };
  } finally {
    source.close();
  }
}

/** All bytes of the file; what is compressed as the memory that it is, instead. */
function* searched(source: FileSource): Iterable<{ from: ByteSource; stretch: Stretch }> {
  const { parts, images } = describeFile(source);
  const isImage = images.some(({ kind }) => kind === 'image');
  const blocks = isImage ? compressedBlocks(readElf(source)) : [];
  const plain = blocks.length === 0 ? parts : parts.filter(({ name }) => name !== COMPRESSED_SECTION);
  for (const stretch of stretchesOf(plain)) yield { from: source, stretch };
  const memory = images.flatMap(image => image.memory);
  let first = 0;
  for (const compressed of compressedStretches(blocks)) {
    const endOf = (part: MemoryPart | undefined): bigint => (part ? part.address + BigInt(part.size) : 0n);
    // Both are in the order of addresses.
    while (first < memory.length && endOf(memory[first]) <= compressed.address) first++;
    const parts = [...partsWithin(compressed, memory, first)];
    const stretch = { parts, offset: 0, size: compressed.size };
    yield { from: new StretchSource(source, compressed), stretch };
  }
}

/** The parts of the memory that a stretch has bytes of, from one on; offsets are those within the stretch. */
function* partsWithin(
  { address, size }: CompressedStretch,
  memory: readonly MemoryPart[],
  first: number,
): Iterable<Part> {
  for (let i = first; i < memory.length; i++) {
    const part = memory[i];
    if (part === undefined || part.address >= address + BigInt(size)) return;
    const { name, kind, protection } = part;
    const offset = Math.max(0, Number(part.address - address));
    const end = Math.min(size, Number(part.address - address) + part.size);
    const start = address + BigInt(offset);
    yield { kind, name, offset, size: end - offset, address: start, protection, ...NOWHERE };
  }
}

const NOWHERE = { section: undefined, segment: undefined, image: 0 } as const;

/** Parts that follow each other in memory as in the file: text may go on from one into the next. */
interface Stretch {
  readonly parts: readonly Part[];
  readonly offset: number;
  readonly size: number;
}

function stretchesOf(parts: readonly Part[]): Stretch[] {
  const stretches: { parts: Part[]; offset: number; size: number }[] = [];
  let last: Part | undefined;
  for (const part of parts) {
    const stretch = stretches.at(-1);
    if (stretch !== undefined && last !== undefined && goesOn(last, part)) {
      stretch.parts.push(part);
      stretch.size += part.size;
    } else {
      stretches.push({ parts: [part], offset: part.offset, size: part.size });
    }
    last = part;
  }
  return stretches;
}

/** Beside each other in memory, or both in none. */
function goesOn(before: Part, next: Part): boolean {
  if (before.address === undefined || next.address === undefined) return before.address === next.address;
  return before.address + BigInt(before.size) === next.address;
}

function* secretsIn(source: ByteSource, { parts, offset, size }: Stretch): Iterable<FoundSecret | 'pause'> {
  let part = 0;
  // The end of a chunk is looked at once more, before the next one: a match may be cut there.
  let carried = '';
  // What begins before this in `carried` is there only to tell where words begin.
  let context = 0;
  for (let at = 0; at < size; at += CHUNK) {
    const bytes = source.read(offset + at, Math.min(CHUNK, size - at));
    const isHole = isZero(bytes);
    const isEnd = isHole || at + bytes.length >= size;
    const start = offset + at - carried.length;
    const text = carried + (isHole ? '\0' : latin1(bytes));
    // What begins behind this is the next chunk's.
    const end = isEnd ? text.length : Math.max(context, text.length - MAX_MATCH);
    for (const { pattern, value, name, from } of matchesIn(text, context, end)) {
      const place = start + from;
      while (place >= (parts[part]?.offset ?? 0) + (parts[part]?.size ?? Number.POSITIVE_INFINITY)) part++;
      const here = parts[part];
      if (here !== undefined) yield secretOf(pattern, name, value, here, place, offsetIn(source, place));
    }
    context = isEnd ? 0 : Math.min(MAX_BEFORE, end);
    carried = isEnd ? '' : text.slice(end - context);
    yield 'pause';
  }
}

const offsetIn = (source: ByteSource, place: number): number =>
  source instanceof StretchSource ? source.fileOffsetOf(place) : place;

interface Match {
  readonly pattern: SecretPattern;
  readonly name: string;
  readonly value: string;
  /** Where the value begins. */
  readonly from: number;
  readonly to: number;
}

/** Matches that begin from `start` on and before `end`, in their order; what several patterns find is the first one's. */
function matchesIn(text: string, start: number, end: number): Match[] {
  const matches: Match[] = [];
  for (const pattern of SECRET_PATTERNS) {
    for (const match of text.matchAll(pattern.pattern)) {
      if (match.index >= end) break;
      if (match.index < start) continue;
      const before = pattern.before?.exec(text.slice(Math.max(0, match.index - MAX_BEFORE), match.index));
      if (before === null) continue;
      const { value = '', name: found = pattern.name } = match.groups ?? {};
      const name = `${before?.groups?.['name'] ?? ''}${found}`;
      const [from = 0, to = 0] = match.indices?.groups?.['value'] ?? [];
      if (pattern.accept?.(value, name) === false) continue;
      if (!matches.some(other => from < other.to && other.from < to)) {
        matches.push({ pattern, name, value, from, to });
      }
    }
  }
  return matches.sort((a, b) => a.from - b.from);
}

function secretOf(
  { kind }: SecretPattern,
  name: string,
  value: string,
  part: Part,
  place: number,
  offset: number,
): FoundSecret {
  const address = part.address === undefined ? undefined : part.address + BigInt(place - part.offset);
  return {
    kind,
    name,
    region: part.name,
    address: address === undefined ? null : `0x${address.toString(16)}`,
    offset,
    begins: value.slice(0, Math.min(4, Math.floor(value.length / 4))),
    length: value.length,
  };
}

const latin1 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');

/** Sparse files have long holes. */
function isZero(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at += PAGE) {
    const page = bytes.subarray(at, at + PAGE);
    if (Buffer.compare(page, ZEROS.subarray(0, page.length)) !== 0) return false;
  }
  return true;
}

const ZEROS = new Uint8Array(PAGE);
