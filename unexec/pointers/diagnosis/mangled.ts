/**
 * Words that libc scrambles with a random number of the process: pointers that setjmp(3) and atexit(3) keep
 * (PTR_MANGLE), and canaries of the stack protector.
 *
 * Where the kernel's random bytes are known, a mangled pointer is decoded. Otherwise several of one run betray
 * themselves: unscrambled by the same unknown guard they all are addresses, so they agree in their upper 16 bits,
 * in both runs.
 *
 * Facts: glibc 2.36, sysdeps/unix/sysv/linux/x86_64/pointer_guard.h (xor, then rol 17) and aarch64's (xor);
 * sysdeps/unix/sysv/linux/dl-osinfo.h: the canary is the first 8 bytes with the lowest one zero, the guard
 * the next 8.
 *
 * @module
 */
import { hex } from '../../../formats/errors.ts';
import { viewOf } from '../../../formats/struct.ts';
import type { Arch } from '../../image.ts';
import type { UnexplainedWord } from '../compare.ts';
import { ADDRESS_END, type Diagnose, type Diagnosis, type DiagnosisInput, Places } from './facts.ts';

const WORD_END = 2n ** 64n;
const ROTATION = 17n;

export const canaries: Diagnose = function* ({ runs }, open) {
  const known = runs?.map(({ random }) => canaryOf(random));
  const guards = runs?.map(({ random }) => guardOf(random));
  const copies = new Map<string, UnexplainedWord[]>();
  for (const word of open) {
    const { value1, value2 } = word;
    if (known?.[0] !== undefined && value1 === known[0] && value2 === known[1]) {
      yield [
        word,
        { kind: 'canary', text: "the stack protector's canary, left over from a function's frame" },
      ];
    } else if (guards?.[0] !== undefined && value1 === guards[0] && value2 === guards[1]) {
      yield [word, { kind: 'canary', text: 'the guard that libc scrambles pointers with' }];
    } else if (
      value1 % 256n === 0n &&
      value2 % 256n === 0n &&
      value1 >= ADDRESS_END &&
      value2 >= ADDRESS_END
    ) {
      const key = `${value1} ${value2}`;
      copies.set(key, [...(copies.get(key) ?? []), word]);
    }
  }
  for (const words of copies.values()) {
    if (words.length < 2) continue;
    const text = `a random number that is here ${words.length} times and ends in a zero byte: a canary of the stack protector`;
    for (const word of words) yield [word, { kind: 'canary', text }];
  }
};

function canaryOf(random: Uint8Array | undefined): bigint | undefined {
  return random === undefined ? undefined : viewOf(random).getBigUint64(0, true) & ~0xffn;
}

function guardOf(random: Uint8Array | undefined): bigint | undefined {
  return random === undefined ? undefined : viewOf(random).getBigUint64(8, true);
}

export const mangledPointers: Diagnose = function* (input, open) {
  const guards = input.runs?.map(({ random }) => guardOf(random));
  const [guard1, guard2] = guards ?? [];
  if (guard1 !== undefined && guard2 !== undefined) yield* decoded(input, open, guard1, guard2);
  else yield* consistent(input.arch, open);
};

function* decoded(
  input: DiagnosisInput,
  open: readonly UnexplainedWord[],
  guard1: bigint,
  guard2: bigint,
): Generator<[UnexplainedWord, Diagnosis]> {
  const places = new Places(input);
  for (const word of open) {
    const first = rotated(input.arch, word.value1) ^ guard1;
    const second = rotated(input.arch, word.value2) ^ guard2;
    if (first >= ADDRESS_END || second >= ADDRESS_END) continue;
    const place = places.find(0, first);
    const other = places.find(1, second);
    const same = place !== undefined && place.index === other?.index;
    const to = same ? ` to ${place.name}${place.offset === other.offset ? `+${hex(place.offset)}` : ''}` : '';
    yield [word, { kind: 'mangled', text: `a pointer${to} that libc has mangled (setjmp, atexit)` }];
  }
}

function* consistent(arch: Arch, open: readonly UnexplainedWord[]): Generator<[UnexplainedWord, Diagnosis]> {
  const groups = new Map<string, UnexplainedWord[]>();
  for (const word of open) {
    if (word.value1 < ADDRESS_END || word.value2 < ADDRESS_END) continue;
    const uppers = [word.value1, word.value2].map(value => rotated(arch, value) >> 48n);
    const key = uppers.join(' ');
    groups.set(key, [...(groups.get(key) ?? []), word]);
  }
  for (const words of groups.values()) {
    const distinct = new Set(words.map(({ value1 }) => value1));
    if (distinct.size < 2) continue;
    const text = `a pointer that libc has mangled (setjmp, atexit): ${distinct.size} such words agree on the guard`;
    for (const word of words) yield [word, { kind: 'mangled', text }];
  }
}

const rotated = (arch: Arch, value: bigint): bigint =>
  arch === 'x86_64' ? ((value >> ROTATION) | (value << (64n - ROTATION))) % WORD_END : value;
