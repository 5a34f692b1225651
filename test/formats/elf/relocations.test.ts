import test from 'ava';
import fc from 'fast-check';
import { EM } from '../../../formats/elf/constants.ts';
import {
  decodeRela,
  dynamicTypes,
  encodeRela,
  relaTableOf,
  relocationAt,
  relocationsOf,
} from '../../../formats/elf/relocations.ts';
import { FormatError } from '../../../formats/errors.ts';

const anyRelocation = fc.record({
  offset: fc.bigInt(0n, 2n ** 64n - 1n),
  type: fc.nat(0xffff_ffff),
  symbol: fc.nat(0xffff_ffff),
  addend: fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
});

test('decodeRela() gives back what encodeRela() took', t => {
  fc.assert(
    fc.property(fc.array(anyRelocation), relocations => {
      const bytes = encodeRela(relaTableOf(relocations));
      t.is(bytes.length, 24 * relocations.length);
      t.deepEqual([...relocationsOf(decodeRela(bytes))], relocations);
    }),
  );
});

test('encodeRela() gives back the bytes that decodeRela() took', t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 240 }), bytes => {
      const whole = bytes.subarray(0, bytes.length - (bytes.length % 24));
      t.deepEqual(encodeRela(decodeRela(whole)), whole);
    }),
  );
});

test('encodeRela() puts symbol and type into the halves of r_info', t => {
  const bytes = encodeRela(relaTableOf([{ offset: 0x1122n, type: 6, symbol: 7, addend: -1n }]));
  t.is(
    Buffer.from(bytes).toString('hex'),
    `${'2211000000000000'}${'06000000'}${'07000000'}${'ffffffffffffffff'}`,
  );
});

test('relaTableOf() takes 0 for a symbol and an addend that are not given', t => {
  t.deepEqual(relocationAt(relaTableOf([{ offset: 8n, type: 1 }]), 0), {
    offset: 8n,
    type: 1,
    symbol: 0,
    addend: 0n,
  });
});

test('decodeRela() refuses a part of an entry', t => {
  const error = t.throws(() => decodeRela(new Uint8Array(25)), { instanceOf: FormatError });
  t.is(error?.code, 'ELF_BAD_RELOCATIONS');
  t.is(error?.message, 'ELF: a relocation table has 0x19 bytes, expected a multiple of 24');
});

test('a million relocations are encoded and decoded in less than a second', t => {
  const bytes = new Uint8Array(24e6).map((_, i) => (i * 2654435761) >>> 13);
  const start = performance.now();
  const again = encodeRela(decodeRela(bytes));
  const milliseconds = performance.now() - start;
  t.true(Buffer.from(again).equals(bytes));
  t.log(`${milliseconds.toFixed()} ms`);
  t.true(milliseconds < 1000);
});

test('dynamicTypes() knows the two machines, and refuses others by number', t => {
  t.is(dynamicTypes(EM.EM_X86_64).relative, 8);
  t.is(dynamicTypes(EM.EM_AARCH64).relative, 0x403);
  for (const machine of [EM.EM_X86_64, EM.EM_AARCH64]) {
    const { sizes, ...types } = dynamicTypes(machine);
    for (const type of Object.values(types)) t.true(sizes.has(type));
    t.is(sizes.get(types.absolute), 8);
    t.is(sizes.get(types.copy), 0);
    t.is(sizes.get(types.tlsDescriptor), 16);
  }
  const error = t.throws(() => dynamicTypes(EM.EM_RISCV), { instanceOf: FormatError });
  t.is(error?.code, 'ELF_UNSUPPORTED_MACHINE');
  t.regex(error?.message ?? '', /e_machine is 243, expected 62 \(EM_X86_64\) or 183/);
});
