/**
 * Functions that a program has called at each restart: in lives that are made without any tool, and in images
 * that are loaded elsewhere, of both formats.
 */
import { openSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import test from 'ava';
import { prepare, restart } from '../../../unexec/index.ts';
import { runMachO } from '../../support/macho/loader.ts';
import { compileMachO, MACHO_ARCHES } from '../../support/macho/toolchain.ts';
import { run } from '../../support/run.ts';
import { buildWithRuntime, MIB } from '../../support/runtime.ts';
import { ROOT, sandbox } from '../../support/sandbox.ts';

const directory = sandbox('at-restart');
const SAMPLE = 'samples/restart/rehash.c';
/** The sample as it would be without: its table is not filled anew. */
const FORGETFUL = join(directory, 'forgetful.c');
const text = readFileSync(join(ROOT, SAMPLE), 'utf8');
writeFileSync(FORGETFUL, text.replace('unexec_at_restart(rehash)', '(void)rehash'));

const nowhere = openSync('/dev/null', 'r+');

const found = (stdout: string): RegExpMatchArray | null =>
  /^found (\d+) of 1000, rehashed (\d+) time/.exec(stdout);

test('functions are called before main in each later life, once each, in the order of registration', async t => {
  const source = 'test/fixtures/runtime/hooks.c';
  const flags = ['-no-pie', '-Wl,-z,max-page-size=16384'];
  const program = buildWithRuntime({ source, output: join(directory, 'hooks'), reserve: MIB, flags });
  const saved = join(directory, 'saved');
  const expected = ['', ' one two late', ' one two late one two late'];
  for (const [life, said] of expected.entries()) {
    const args = [life === 0 ? 'first' : 'again', saved];
    const { stdout, status } = await run(program, { args, through: ['setarch', '-R'] });
    t.is(status, 0);
    t.is(stdout, `registered by a constructor:${said}\n`);
  }
});

for (const [name, flags] of [
  ['a position-independent program', []],
  ['a static one', ['-static-pie']],
] as const) {
  test(`a table of addresses is filled anew in the image of ${name}`, async t => {
    for (const [kind, source] of [
      ['hook', SAMPLE],
      ['none', relative(ROOT, FORGETFUL)],
    ] as const) {
      const output = join(directory, `rehash-${flags.join('')}-${kind}`);
      const program = buildWithRuntime({ source, output, flags });
      await prepare(program, `${output}.prepared`, { reserve: MIB });
      await restart(`${output}.prepared`, `${output}.restart`, { stdio: [nowhere, nowhere, nowhere] });
      const counts = [];
      for (let i = 0; i < 5; i++) {
        const { stdout } = await run(`${output}.restart`);
        counts.push(found(stdout)?.slice(1, 3).map(Number));
      }
      if (kind === 'hook') t.deepEqual(counts, Array(5).fill([1000, 1]));
      // What makes the hook necessary: hardly anything is found at other addresses.
      else
        t.true(
          counts.every(count => (count?.[0] ?? 1000) < 900 && count?.[1] === 0),
          counts.join(' '),
        );
    }
  });
}

for (const arch of MACHO_ARCHES) {
  test(`a table of addresses is filled anew in a Mach-O image: ${arch}`, async t => {
    const program = compileMachO({
      sources: [SAMPLE, 'unexec/runtime/unexec-runtime.c'],
      arch,
      fixups: 'chained',
      directory,
      name: `rehash-${arch}`,
      headerpad: 0x200,
    });
    const prepared = `${program}.prepared`;
    await prepare(program, prepared, { reserve: MIB });
    const [core = '', compare = ''] = [`${program}.core`, `${program}.core2`];
    for (const file of [core, compare])
      await runMachO(prepared, [], { arch, at: 'unexec_freeze_here', core: file });
    await restart(core, `${program}.restart`, { exe: prepared, compare });
    for (let i = 0; i < 2; i++) {
      const { stdout, status } = await runMachO(`${program}.restart`, [], { arch });
      t.is(status, 0);
      t.deepEqual(found(stdout)?.slice(1, 3), ['1000', '1']);
    }
  });
}
