import test from 'ava';
import { verifyFile } from '../../../unexec/verify-file.ts';
import { complaintsOfElf } from '../../support/judge-elf.ts';
import { dumpElf, dumpElfOnce, type ElfArch, preparedElf, runElf } from '../../support/restart-elf.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('restart-elf');
const world = 'samples/restart/world.c';
const LAYOUTS = 20;

interface Kind {
  readonly arch: ElfArch;
  readonly name: string;
  readonly flags: readonly string[];
  readonly compiler?: string;
}

const kind = (arch: ElfArch, name: string, ...flags: string[]): Kind => ({ arch, name, flags });

const KINDS: readonly Kind[] = [
  kind('x86_64', 'position-independent'),
  kind('x86_64', 'with DT_RELR', '-Wl,-z,pack-relative-relocs'),
  kind('x86_64', 'bound when called', '-Wl,-z,lazy'),
  kind('x86_64', 'without RELRO', '-Wl,-z,norelro'),
  kind('x86_64', 'linked to its address', '-no-pie'),
  kind('x86_64', 'static and position-independent', '-static-pie'),
  kind('x86_64', 'static', '-static'),
  kind('x86_64', 'linked by gold', '-fuse-ld=gold'),
  { ...kind('x86_64', 'of clang and lld', '-fuse-ld=lld'), compiler: 'clang-19' },
  { ...kind('x86_64', 'of clang and lld, static', '-fuse-ld=lld', '-static'), compiler: 'clang-19' },
  kind('aarch64', 'position-independent'),
  kind('aarch64', 'linked to its address', '-no-pie'),
  kind('aarch64', 'static and position-independent', '-static-pie'),
];

/** What lives from `first` to `last` say, of an uninterrupted life's output. */
const lives = (whole: string, first: number, last: number): string =>
  ['restarted', ...whole.split('\n').slice(2 * first - 1, 2 * last + 1), ''].join('\n');

/** Under the emulator, the last line that a life writes. */
const freezePoint = (arch: ElfArch): { arch: ElfArch; at: string } => ({
  arch,
  at: arch === 'aarch64' ? 'output:fault of the zone' : 'request',
});

for (const { arch, name, flags, compiler } of KINDS) {
  test(`a program goes on in three lives as in one: ${arch}, ${name}`, async t => {
    const path = `world.${arch}.${name.replaceAll(/\W+/g, '-')}`;
    const own = compiler === undefined ? {} : { compiler };
    const program = await preparedElf({ source: world, directory, name: path, arch, flags, ...own });
    const whole = (await runElf(program, { args: ['3'] }, arch)).stdout;

    const second = `${program}.2`;
    const { generation, zone } = await dumpElf(program, second, freezePoint(arch));
    t.is(generation, 1);
    t.true(zone?.isDefault);
    t.deepEqual(await runElf(second, {}, arch), ended(lives(whole, 2, 2)));
    t.deepEqual(await runElf(second, { args: ['2'] }, arch), ended(lives(whole, 2, 3)));

    const third = `${program}.3`;
    t.is((await dumpElf(second, third, freezePoint(arch))).generation, 2);
    t.deepEqual(await runElf(third, {}, arch), ended(lives(whole, 3, 3)));
    for (const file of [second, third]) {
      t.deepEqual(verifyFile(file).findings, []);
      t.deepEqual(complaintsOfElf(file, program).filter(isNoOwner), []);
    }
  });
}

const ended = (stdout: string) => ({ stdout, stderr: '', status: 0, signal: null });

/** elfutils knows no notes of ours. */
const isNoOwner = (line: string): boolean => !line.includes("owner name 'unexec'");

test('a dumped program runs wherever the kernel maps it', async t => {
  const program = await preparedElf({ source: world, directory, name: 'layouts' });
  const whole = (await runElf(program, { args: ['2'] })).stdout;
  const second = `${program}.2`;
  await dumpElf(program, second);
  const expected = ended(lives(whole, 2, 2));
  for (let i = 0; i < LAYOUTS; i++) t.deepEqual(await runElf(second), expected);
  t.deepEqual(await runElf(second, { through: ['setarch', '-R'] }), expected);
});

for (const flags of [[], ['-no-pie']]) {
  test(`one run is enough for a program whose numbers are no addresses: gcc ${flags.join(' ')}`, async t => {
    const name = `once${flags.join('')}`;
    const program = await preparedElf({ source: world, directory, name, flags });
    const whole = (await runElf(program, { args: ['2'] })).stdout;
    const { pointers } = await dumpElfOnce(program, `${program}.2`);
    t.like(pointers, { method: 'scan', doubtful: 0 });
    t.deepEqual(await runElf(`${program}.2`), ended(lives(whole, 2, 2)));
    const compared = await dumpElf(program, `${program}.compared`);
    t.is(compared.pointers.pointers, pointers.pointers);
  });
}
