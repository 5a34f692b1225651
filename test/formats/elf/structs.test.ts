import { execFileSync } from 'node:child_process';
import test from 'ava';
import fc from 'fast-check';
import * as structs from '../../../formats/elf/structs.ts';
import { viewOf } from '../../../formats/struct.ts';
import { compile } from './support/tools.ts';

const { LE, ...declared } = structs;

for (const [name, struct] of Object.entries(declared)) {
  test(`${name}: encode(read(bytes)) is the same bytes, for any bytes`, t => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: struct.size, maxLength: struct.size }), raw => {
        t.deepEqual(encodeAgain(struct, raw), raw);
      }),
    );
  });
}

test('sizes and field offsets are those of the C structs in elf.h', t => {
  const lines = Object.entries(declared).flatMap(([name, { offsets }]) => [
    `printf("${name} %zu\\n", sizeof(${name}));`,
    ...Object.keys(offsets).map(field => `printf("${name}.${field} %zu\\n", offsetof(${name}, ${field}));`),
  ]);
  const source = `#include <elf.h>\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {\n${lines.join('\n')}\n}`;
  const theirs = execFileSync(compile(source, []), { encoding: 'utf8' });
  const ours = Object.entries(declared).flatMap(([name, { size, offsets }]) => [
    `${name} ${size}\n`,
    ...Object.entries(offsets).map(([field, offset]) => `${name}.${field} ${offset}\n`),
  ]);
  t.is(ours.join(''), theirs);
});

/** Any of the structs: methods, so that what one gives another may be asked to take. */
interface Codec {
  read(view: DataView, at: number, le: boolean): unknown;
  encode(value: unknown, le: boolean): Uint8Array;
}

const encodeAgain = (codec: Codec, raw: Uint8Array): Uint8Array =>
  codec.encode(codec.read(viewOf(raw), 0, LE), LE);
