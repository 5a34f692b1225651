import { execFileSync } from 'node:child_process';
import test from 'ava';
import { viewOf } from '../../../../formats/struct.ts';
import { RestoreProgram } from '../../../../unexec/restorer/program.ts';
import { neededArmFeatures, requireArmMachine } from '../../../../unexec/styles/resume/arm-machine.ts';
import { NR } from '../../../../unexec/styles/resume/system-calls.ts';
import { runsHere } from '../../../support/foreign-arch.ts';
import { buildFor, PREFIX, runRestore } from '../../../support/restore-executable.ts';
import { imageOf } from '../../../support/synthetic-image.ts';

buildFor('aarch64');

const AT = { PAGESZ: 6n, HWCAP: 16n, HWCAP2: 26n } as const;
type Auxiliary = Partial<Record<keyof typeof AT, bigint>>;

function auxvOf(entries: Auxiliary): Uint8Array {
  const words = Object.entries(AT).flatMap(([name, type]) => {
    const value = entries[name as keyof typeof AT];
    return value === undefined ? [] : [type, value];
  });
  const auxv = new Uint8Array((words.length + 2) * 8);
  for (const [i, word] of words.entries()) viewOf(auxv).setBigUint64(i * 8, word, true);
  return auxv;
}

const imageWith = (entries: Auxiliary) => imageOf({ arch: 'aarch64', auxv: auxvOf(entries) });

/** What this machine, or qemu's default CPU, makes of an image. */
const judged = (entries: Auxiliary) =>
  runRestore(program => {
    requireArmMachine(program, imageWith(entries));
    program.syscall('exit', NR.exit_group, [17]);
  });

test('features have the names and bits of asm/hwcap.h', t => {
  const macros = execFileSync('aarch64-linux-gnu-gcc', ['-dM', '-E', '-include', 'asm/hwcap.h', '-'], {
    input: '',
    encoding: 'utf8',
  });
  const found = [...macros.matchAll(/^#define (HWCAP2?)_(\w+)\s+\(1(?:UL|ULL)? << (\d+)\)$/gm)];
  t.true(found.length > 55);
  for (const [, word = '', name = '', bit = ''] of found) {
    const features = neededArmFeatures(imageWith({ [word]: 1n << BigInt(bit) }));
    const expected = name.toLowerCase().replaceAll('_', '');
    t.deepEqual(features, expected === 'evtstrm' ? [] : [expected]);
  }
});

test('a feature without a name is needed as well', t => {
  t.deepEqual(neededArmFeatures(imageWith({ HWCAP: 1n << 40n, HWCAP2: (1n << 63n) | 1n })), [
    'bit 40 of AT_HWCAP',
    'dcpodp',
    'bit 63 of AT_HWCAP2',
  ]);
});

test('an image without an auxiliary vector needs nothing', t => {
  t.deepEqual(neededArmFeatures({ auxv: new Uint8Array(0) }), []);
  t.deepEqual(neededArmFeatures({ auxv: new Uint8Array(7) }), []);
});

test('a machine is refused for the first feature that it lacks', t => {
  const { status, stderr } = judged({ HWCAP: 3n, HWCAP2: 1n << 63n });
  // qemu's user emulation has pointer authentication, which comes first, and no way to turn it off.
  const reason = runsHere('aarch64')
    ? 'this CPU lacks bit 63 of AT_HWCAP2'
    : 'turn pointer authentication off: EINVAL';
  t.is(stderr, `${PREFIX}${reason}\n`);
  t.is(status, 125);
  t.is(judged({ HWCAP: 1n << 40n }).stderr, `${PREFIX}this CPU lacks bit 40 of AT_HWCAP\n`);
});

test('a process with larger pages is refused', t => {
  for (const size of [16384n, 65536n]) {
    t.throws(() => requireArmMachine(new RestoreProgram('aarch64'), imageWith({ PAGESZ: size })), {
      code: 'PAGE_SIZE',
      message: `the process has pages of ${size} bytes, expected 4096`,
    });
  }
});
