import test from 'ava';
import type { MachineState } from '../../unexec/image.ts';
import { placedComponents, signalFrameState, stateInUse } from '../../unexec/xstate.ts';
import { threadOf } from '../support/synthetic-image.ts';

/** Where Intel's and AMD's CPUs keep components, by the size of the area (CPUID leaf 0xd of such machines). */
const INTEL = { size: 2696, k: 1088, zmm: 1152, hi16: 1664, pkru: 2688 };
const AMD = { size: 2440, k: 832, zmm: 896, hi16: 1408, pkru: 2432 };
const DEFAULT_PKRU = 0x5555_5554;

interface Facts {
  readonly size: number;
  readonly marked: bigint;
  /** Bytes that are not zero. */
  readonly set?: readonly number[];
  readonly pkru?: readonly [at: number, value: number];
}

function area({ size, marked, set = [], pkru }: Facts): Uint8Array {
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(464, 0x2e7n, true); // XCR0, as ptrace gives it
  if (size >= 520) view.setBigUint64(512, marked, true);
  for (const at of set) bytes[at] = 0xaa;
  if (pkru !== undefined) view.setUint32(pkru[0], pkru[1], true);
  return bytes;
}

const machine = (xstate: Uint8Array): MachineState => ({ ...threadOf({}).machine, xstate }) as MachineState;

/** What the kernel reads of it: magic numbers, sizes and components. */
function frameOf(facts: Facts) {
  const state = signalFrameState(area(facts));
  const view = new DataView(state.buffer);
  const size = view.getUint32(480, true);
  return {
    magic: [view.getUint32(464, true), view.getUint32(size, true)],
    extended: view.getUint32(468, true) - size,
    length: state.length - size,
    components: view.getBigUint64(472, true),
    marked: view.getBigUint64(512, true),
    size,
  };
}

const frame = (components: bigint, size: number) => ({
  magic: [0x46505853, 0x46505845],
  extended: 4,
  length: 4,
  components,
  marked: components,
  size,
});

test('signalFrameState() keeps x87 and SSE where nothing else is in use', t => {
  t.deepEqual(frameOf({ size: 2696, marked: 0n }), frame(3n, 576));
  t.deepEqual(frameOf({ size: 2432, marked: 1n }), frame(3n, 576));
});

for (const [vendor, at] of Object.entries({ INTEL, AMD })) {
  test(`signalFrameState() ends with the last component in use of an area of ${vendor}`, t => {
    const of = (marked: bigint, set: readonly number[]) => frameOf({ size: at.size, marked, set });
    t.deepEqual(of(0xe7n, [576]), frame(7n, 832));
    t.deepEqual(of(0xe7n, [576, at.k]), frame(0x27n, at.k + 64));
    t.deepEqual(of(0xe7n, [at.zmm + 511]), frame(0x43n, at.zmm + 512));
    t.deepEqual(of(0xe7n, [at.hi16 + 1023]), frame(0x83n, at.hi16 + 1024));
    t.deepEqual(of(0x03n, [at.hi16]), frame(3n, 576), 'what is not marked is not in use');
  });

  test(`signalFrameState() keeps protection keys of an area of ${vendor} where they are not as for every new process`, t => {
    const of = (value: number) => frameOf({ size: at.size, marked: 0x203n, pkru: [at.pkru, value] });
    t.deepEqual(of(DEFAULT_PKRU), frame(3n, 576));
    t.deepEqual(of(0), frame(0x203n, at.pkru + 8));
  });

  test(`placedComponents() tells where an area of ${vendor} has AVX-512`, t => {
    const state = area({ size: at.size, marked: 0xe7n, set: [576, at.k, at.hi16] });
    t.deepEqual(
      placedComponents(machine(state)).map(({ bit, offset }) => [bit, offset]),
      [
        [0x20n, at.k],
        [0x80n, at.hi16],
      ],
    );
  });
}

test('signalFrameState() keeps a whole area with components that we do not know', t => {
  t.deepEqual(frameOf({ size: 11008, marked: 0x60003n }), frame(0x60003n, 11008));
});

test('signalFrameState() of an area without extended state is that area', t => {
  const state = signalFrameState(area({ size: 512, marked: 0n, set: [100] }));
  t.is(state.length, 516);
  t.is(state[100], 0xaa);
});

test('stateInUse() always has x87 and SSE', t => {
  t.is(stateInUse(machine(new Uint8Array(0))), 3n);
  t.is(stateInUse(machine(area({ size: 2696, marked: 0n }))), 3n);
  t.is(stateInUse(machine(area({ size: 2696, marked: 0xe7n, set: [600, 1100] }))), 0x27n);
});
