/**
 * Images of aarch64 under qemu's user emulation, from its own cores. What a real kernel does differently is in
 * test/machines/aarch64-cores.test.ts.
 *
 * @module
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import test from 'ava';
import { freeze } from '../../../../unexec/freeze.ts';
import { readManifest } from '../../../../unexec/read-manifest.ts';
import { ARM_SYSROOT, compileArm } from '../../../support/arm-programs.ts';
import { qemuCore } from '../../../support/cores.ts';
import { runnerOf } from '../../../support/foreign-arch.ts';
import { run } from '../../../support/run.ts';
import { sandbox } from '../../../support/sandbox.ts';

const directory = sandbox('aarch64');
let count = 0;

/** On this CPU. An emulator cannot turn pointer authentication off, so that only CPUs without it will do. */
const emulator = (cpu: string): string[] => [
  'qemu-aarch64-static',
  ...runnerOf('aarch64').slice(1),
  '-cpu',
  cpu,
  '-L',
  ARM_SYSROOT,
];
const OLD = 'cortex-a72';
const NEW = 'max,pauth=off';

async function frozen(program: string, cpu: string): Promise<{ path: string; written: string }> {
  const core = await qemuCore([...emulator(cpu), program], directory);
  const path = join(directory, `frozen-${count++}`);
  await freeze(core.path, path, { exe: program, sysroot: ARM_SYSROOT });
  return { path, written: core.written };
}

const PROGRAMS: readonly [what: string, fixture: string, flags: readonly string[]][] = [
  ['a program with threads', 'cores/threads.c', []],
  ['a static program with threads', 'cores/threads.c', ['-static']],
  ['a program with handlers of signals', 'arm/handlers.c', []],
];

for (const [what, fixture, flags] of PROGRAMS) {
  test(`${what} goes on under qemu-aarch64 with the same result`, async t => {
    const program = compileArm(directory, fixture, flags);
    const stdin = 'a line\n';
    const whole = await run(program, { through: emulator(OLD), stdin });
    const { path, written } = await frozen(program, OLD);
    const second = await run(path, { through: emulator(OLD), stdin });
    t.deepEqual(
      { said: written + second.stdout + second.stderr, status: second.status },
      // qemu's cores lack floating point: what is known of it is told as assumed.
      { said: whole.stdout.replace(/after 0\.75/, 'after 0'), status: whole.status },
    );
  });
}

test('an image for aarch64 is an executable for aarch64, as readelf sees it', async t => {
  const program = compileArm(directory, 'arm/handlers.c', ['-O1']);
  const { path } = await frozen(program, OLD);
  const said = execFileSync('readelf', ['-hlW', path], { encoding: 'utf8' });
  t.regex(said, /Machine: +AArch64/);
  const loads = [...said.matchAll(/^ +LOAD +(0x\w+) (0x\w+) .* (0x\w+)$/gm)];
  t.is(loads.length, 3); // code, data, and where the break begins
  for (const [, offset = '', address = '', align = ''] of loads) {
    t.is(align, '0x10000');
    t.is(BigInt(offset) % 0x1_0000n, BigInt(address) % 0x1_0000n);
  }
});

test('a lesser CPU is refused, and what it lacks is named', async t => {
  const program = compileArm(directory, 'arm/handlers.c', ['-O1', '-DNEW']);
  const { path } = await frozen(program, NEW);
  const { features } = readManifest(path).cpu;
  for (const name of ['fp', 'atomics', 'sve', 'bti']) t.true(features.includes(name), name);
  const there = await run(path, { through: emulator(NEW), stdin: 'a line\n' });
  t.is(there.status, 9, there.stderr);
  const here = await run(path, { through: emulator(OLD) });
  t.is(here.stderr, `unexec: cannot resume ${program}: this CPU lacks atomics\n`);
  t.is(here.status, 125);
});

test('where pointer authentication cannot be turned off, nothing is resumed', async t => {
  const program = compileArm(directory, 'arm/handlers.c', ['-O1', '-DPAC']);
  const { path } = await frozen(program, OLD);
  const { stderr, status } = await run(path, { through: emulator('max') });
  t.is(stderr, `unexec: cannot resume ${program}: turn pointer authentication off: EINVAL\n`);
  t.is(status, 125);
});
