/** Programs that are spoiled: preparing them, and letting them import more, succeeds or says why not. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { layoutElf, readElf, STT } from '../../../formats/elf/index.ts';
import { FormatError } from '../../../formats/errors.ts';
import { addImports } from '../../../unexec/elf/add-imports.ts';
import { addReserve } from '../../../unexec/elf/add-reserve.ts';
import { findReserve } from '../../../unexec/elf/reserve.ts';
import { UnexecError } from '../../../unexec/errors.ts';
import { RUNTIME, RUNTIME_SOURCE } from '../../support/runtime.ts';
import { ROOT, sandbox } from '../../support/sandbox.ts';

const directory = sandbox('hostile-elf');
const path = join(directory, 'world');
execFileSync('gcc', ['-o', path, join(ROOT, 'samples/restart/world.c'), RUNTIME_SOURCE, `-I${RUNTIME}`]);
const program = new Uint8Array(readFileSync(path));

const LIMITS = [
  0n,
  1n,
  7n,
  0xfffn,
  0x1000n,
  0xffffn,
  0x7fffffffn,
  0xffffffffn,
  2n ** 53n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
];
const mutation = fc.record({
  // The headers, and anywhere.
  at: fc.oneof(fc.nat(64 + 13 * 56), fc.nat(program.length - 8)),
  width: fc.constantFrom(1, 4, 8),
  value: fc.oneof(fc.constantFrom(...LIMITS), fc.bigInt(0n, 2n ** 64n - 1n)),
});

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof FormatError || error instanceof UnexecError) return undefined;
    throw error;
  }
}

test('spoiled programs are prepared, or refused with a code', t => {
  let prepared = 0;
  fc.assert(
    fc.property(fc.array(mutation, { minLength: 1, maxLength: 4 }), mutations => {
      const bytes = program.slice();
      const view = new DataView(bytes.buffer);
      for (const { at, width, value } of mutations) {
        if (width === 8) view.setBigUint64(at, value, true);
        else if (width === 4) view.setUint32(at, Number(BigInt.asUintN(32, value)), true);
        else view.setUint8(at, Number(BigInt.asUintN(8, value)));
      }
      const start = performance.now();
      const done = attempt(() => {
        const file = readElf(bytes);
        findReserve(file);
        addReserve(file, 1 << 20);
        return layoutElf(file);
      });
      if (done) prepared++;
      attempt(() => addImports(readElf(bytes), [{ name: 'x', type: STT.STT_FUNC }]));
      t.true(performance.now() - start < 5000);
    }),
    { numRuns: 1000 },
  );
  t.log(`${prepared} of 1000 could still be prepared`);
  t.true(prepared > 100);
  t.true(process.memoryUsage().rss < 2 ** 30);
});
