import { join } from 'node:path';
import { createContext, runInContext } from 'node:vm';
import test from 'ava';
import { sandbox } from '../sandbox.ts';
import { lldb } from './lldb.ts';
import { runMachO } from './loader.ts';
import { compileShapes, rescriptProgram } from './rescript.ts';
import { MACHO_ARCHES } from './toolchain.ts';

const directory = sandbox('macho-foreign');

for (const arch of MACHO_ARCHES) {
  test(`ReScript's compiler compiles a file, at two slides the same, ${arch}`, async t => {
    const bsc = rescriptProgram('bsc', arch);
    const first = await compileShapes(bsc, directory, { arch, slide: 0n });
    t.is(first.status, 0, first.stderr);
    t.is(first.stderr, '');
    t.true(first.interface.length > 1000);
    const context = createContext({ exports: {} });
    runInContext(`${first.stdout}; this.result = JSON.stringify(answer)`, context);
    t.is(context['result'], '[55,12.56,"the square"]');
    t.deepEqual(await compileShapes(bsc, directory, { arch, slide: 0x7f_0000_0000n }), first);
  });

  test(`ReScript's build tool says its version and its help, ${arch}`, async t => {
    const program = rescriptProgram('rescript', arch);
    const version = await runMachO(program, ['--version'], { arch, foreign: true });
    t.deepEqual(version, { stdout: 'rescript 12.2.0\n', stderr: '', status: 0, signal: null });
    const help = await runMachO(program, ['format', '--help'], { arch, foreign: true });
    t.regex(help.stdout, /Usage: rescript format \[OPTIONS\] \[FILES\]\.\.\./);
    const missing = await runMachO(program, ['build', 'nowhere'], { arch, foreign: true });
    t.regex(missing.stderr, /the specified project folder does not exist: nowhere/);
    t.is(missing.status, 1);
  });

  test(`a core of ReScript's compiler at its entry shows where it is, ${arch}`, async t => {
    const bsc = rescriptProgram('bsc', arch);
    const core = join(directory, `${arch}.core`);
    const options = { arch, foreign: true, at: 'entry', core, coreStyle: 'lldb' } as const;
    t.is((await runMachO(bsc, [], options)).status, 0);
    t.regex(await lldb(bsc, core, ['thread list']), /thread #1.*bsc\.exe`/);
  });
}
