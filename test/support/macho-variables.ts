/**
 * The variables of test/fixtures/macho/variables.c, read through a memory image: where they are is asked of
 * llvm-nm, what they have to be the program's source says.
 *
 * @module
 */
import { execFileSync } from 'node:child_process';
import type { MemoryImage } from '../../unexec/image.ts';

/** Name in C → address in the file. */
export function symbolsOf(path: string): ReadonlyMap<string, bigint> {
  const lines = execFileSync('llvm-nm-19', [path], { encoding: 'utf8' }).split('\n');
  return new Map(
    lines.flatMap(line => {
      const [, address, name] = /^([0-9a-f]{16}) \w _(.*)$/.exec(line) ?? [];
      return address === undefined || name === undefined ? [] : [[name, BigInt(`0x${address}`)]];
    }),
  );
}

/** What the variables hold; pointers into the image as offsets from what they lead to, 0 where that is right. */
export function readVariables(image: Pick<MemoryImage, 'memory'>, path: string, slide: bigint) {
  const symbols = symbolsOf(path);
  const address = (name: string): bigint => {
    const found = symbols.get(name);
    if (found === undefined) throw new Error(`${path} has no symbol _${name}`);
    return found + slide;
  };
  const word = (at: bigint): bigint => {
    const bytes = new Uint8Array(8);
    image.memory.read(at, bytes);
    return new DataView(bytes.buffer).getBigUint64(0, true);
  };
  const string = (at: bigint): string => {
    const bytes = new Uint8Array(32);
    image.memory.read(at, bytes);
    return Buffer.from(bytes).toString('latin1').split('\0', 1)[0] ?? '';
  };
  const node = (at: bigint) => ({ next: word(at), number: word(at + 8n), name: string(word(at + 16n)) });
  const numbers: string[] = [];
  for (let at = word(address('list')); at !== 0n && numbers.length < 1000; ) {
    const { next, number, name } = node(at);
    numbers.push(`${number} ${name}`);
    at = next;
  }
  const first = address('first');
  return {
    number: word(address('number')),
    text: string(word(address('text'))),
    list: numbers,
    node: word(address('node')) - first,
    first: { ...node(first), next: node(first).next - first },
    intoBss: word(address('into_bss')) - address('zeros') - 0x9000n,
    zeros: [string(address('zeros')), string(address('zeros') + 0x5000n)],
    clean: [word(address('clean')), word(address('clean') + 8n)],
    cleanPointer: word(address('unwritten_pointers') + 0x800n * 8n) - first,
    constant: { ...node(address('constant')), next: node(address('constant')).next - first },
    bound: word(address('function')) !== 0n,
  };
}

export const VARIABLES: ReturnType<typeof readVariables> = {
  number: 2n,
  text: 'as written',
  list: Array.from({ length: 100 }, (_, i) => `${99 - i} ${i % 2 === 0 ? 'odd' : 'even'}`),
  node: 0n,
  first: { next: 0n, number: 7n, name: 'first' },
  intoBss: 0n,
  zeros: ['', 'xxxxxxxxxxxxxxxx'],
  clean: [42n, 0n],
  cleanPointer: 0n,
  constant: { next: 0n, number: 9n, name: 'constant' },
  bound: true,
};
