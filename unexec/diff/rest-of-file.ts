/**
 * What two files have beside memory: headers, symbols, notes, the restore program. And what they say of themselves
 * in their manifests, field by field.
 *
 * @module
 */
import type { ByteSource, Part } from '../../formats/describe/index.ts';
import type { InspectedStep } from '../inspect/model.ts';
import type { DiffField, DiffPart, DiffSteps, StepCount } from './model.ts';
import type { Side } from './side.ts';

const CHUNK = 1 << 20;

interface SidePart {
  readonly source: ByteSource;
  readonly part: Part;
}

/** Parts that differ, in the order of the first file. Parts of one name are paired in their order. */
export function diffParts(a: NonNullable<Side['file']>, b: NonNullable<Side['file']>): DiffPart[] {
  const namesakes = new Map<string, Part[]>();
  for (const part of b.parts) {
    const key = keyOf(part);
    const list = namesakes.get(key);
    if (list === undefined) namesakes.set(key, [part]);
    else list.push(part);
  }
  const used = new Map<string, number>();
  const found: DiffPart[] = [];
  for (const part of a.parts) {
    const key = keyOf(part);
    const index = used.get(key) ?? 0;
    used.set(key, index + 1);
    const other = namesakes.get(key)?.[index];
    if (other === undefined)
      found.push({ name: part.name, sizeA: part.size, sizeB: null, changed: part.size });
    else {
      const changed = differing({ source: a.source, part }, { source: b.source, part: other });
      if (changed > 0) found.push({ name: part.name, sizeA: part.size, sizeB: other.size, changed });
    }
  }
  for (const [key, parts] of namesakes) {
    for (const part of parts.slice(used.get(key) ?? 0)) {
      found.push({ name: part.name, sizeA: null, sizeB: part.size, changed: part.size });
    }
  }
  return found;
}

const keyOf = ({ kind, name }: Part): string => `${kind}\n${name}`;

function differing(a: SidePart, b: SidePart): number {
  const common = Math.min(a.part.size, b.part.size);
  let changed = Math.max(a.part.size, b.part.size) - common;
  for (let at = 0; at < common; at += CHUNK) {
    const length = Math.min(CHUNK, common - at);
    const one = Buffer.from(a.source.read(a.part.offset + at, length));
    const other = b.source.read(b.part.offset + at, length);
    if (one.equals(other)) continue;
    for (let i = 0; i < length; i++) if (one[i] !== other[i]) changed++;
  }
  return changed;
}

/** Whether two files have the same bytes. */
export function isSameFile(a: ByteSource, b: ByteSource): boolean {
  if (a.size !== b.size) return false;
  for (let at = 0; at < a.size; at += CHUNK) {
    const length = Math.min(CHUNK, a.size - at);
    if (!Buffer.from(a.read(at, length)).equals(b.read(at, length))) return false;
  }
  return true;
}

/** What is compared as memory or as steps, not as text. */
const ELSEWHERE = /^(?:regions|steps|blocks)\b/;

export function diffFields(a: Side['manifest'], b: Side['manifest']): DiffField[] {
  const one = a?.leaves() ?? new Map<string, string>();
  const other = b?.leaves() ?? new Map<string, string>();
  // A process that runs has no manifest, and a file of others has none either.
  if (a === undefined || b === undefined) return [];
  return [...new Set([...one.keys(), ...other.keys()])].flatMap(name => {
    const values = { a: one.get(name) ?? null, b: other.get(name) ?? null };
    return ELSEWHERE.test(name) || values.a === values.b ? [] : [{ name, ...values }];
  });
}

/** Steps are paired by their names, those of one name in their order. */
export function diffSteps(a: Side['steps'], b: Side['steps']): DiffSteps | null {
  if (a === undefined || b === undefined) return null;
  const one = byName(a);
  const other = byName(b);
  const found = {
    changed: new Map<string, number>(),
    onlyA: new Map<string, number>(),
    onlyB: new Map<string, number>(),
  };
  for (const name of new Set([...one.keys(), ...other.keys()])) {
    const steps = one.get(name) ?? [];
    const others = other.get(name) ?? [];
    const common = Math.min(steps.length, others.length);
    found.changed.set(name, steps.slice(0, common).filter((text, i) => text !== others[i]).length);
    found.onlyA.set(name, steps.length - common);
    found.onlyB.set(name, others.length - common);
  }
  return { changed: counts(found.changed), onlyA: counts(found.onlyA), onlyB: counts(found.onlyB) };
}

const counts = (names: ReadonlyMap<string, number>): StepCount[] =>
  [...names].filter(([, count]) => count > 0).map(([name, count]) => ({ name, count }));

function byName(steps: readonly InspectedStep[]): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const step of steps) {
    const texts = found.get(step.name);
    if (texts === undefined) found.set(step.name, [textOf(step)]);
    else texts.push(textOf(step));
  }
  return found;
}

const textOf = ({ op, call, args, result }: InspectedStep): string =>
  JSON.stringify([op, call, args, result]);
