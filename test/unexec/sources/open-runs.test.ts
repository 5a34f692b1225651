/**
 * Two runs of a program have descriptors that are alike: nothing that it sees of them differs, and its heap lies
 * the same way behind the buffers of its streams.
 */
import { closeSync, openSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { prepare, restart } from '../../../unexec/index.ts';
import { COMMAND } from '../../support/command.ts';
import { run } from '../../support/run.ts';
import { buildWithRuntime, MIB } from '../../support/runtime.ts';
import { sandbox } from '../../support/sandbox.ts';
import { onTerminal } from '../../support/terminal.ts';

const directory = sandbox('open-runs');
const program = buildWithRuntime({
  source: 'test/fixtures/runs/what-it-sees.c',
  output: join(directory, 'what-it-sees'),
});
const prepared = `${program}.prepared`;
await prepare(program, prepared, { reserve: MIB });

const secondLife = async (path: string): Promise<string> => (await run(path)).stdout.trimEnd();

test('a second run has a terminal where the first one has', async t => {
  const target = join(directory, 'on-a-terminal');
  const { seen, status, problem } = await onTerminal(
    [process.execPath, COMMAND, '--style', 'restart', prepared, target],
    [['expect', 'by comparison of two runs']],
  );
  t.is(problem, null);
  t.is(status, 0);
  t.notRegex(seen, /doubtful|differ between two runs/);
  t.is(await secondLife(target), "terminals 111, 80 columns, line '(null)', behind the buffers");
});

test('a second run reads the same file from the same place', async t => {
  const target = join(directory, 'from-a-file');
  const input = join(directory, 'input');
  writeFileSync(input, 'skipped\nread by both\nleft over\n');
  const file = openSync(input, 'r');
  const nowhere = openSync('/dev/null', 'w');
  readSync(file, new Uint8Array(8), 0, 8, null);
  const report = await restart(prepared, target, { args: ['read'], stdio: [file, nowhere, nowhere] });
  for (const fd of [file, nowhere]) closeSync(fd);
  t.is(report.pointers.method, 'comparison');
  t.is(report.pointers.unexplained, 0);
  t.is(report.pointers.doubtful, 0);
  t.is(await secondLife(target), "terminals 000, 0 columns, line 'read by both', behind the buffers");
});

test('a second run that finds nothing to read is told, and pointers are guessed', async t => {
  const target = join(directory, 'from-a-pipe');
  const { stderr, stdout, status } = await run(process.execPath, {
    args: [COMMAND, '--style', 'restart', '--at', 'request', prepared, target, '--', 'read'],
    stdin: 'read by the first\n',
  });
  t.is(status, 0, stderr);
  t.regex(`${stdout}${stderr}`, /a second run, to compare with, failed: the program ended/);
  t.is(await secondLife(target), "terminals 000, 0 columns, line 'read by the first', behind the buffers");
});

test('a second run that stops elsewhere is told, and pointers are guessed', async t => {
  const target = join(directory, 'elsewhere');
  const { stderr, stdout, status } = await run(process.execPath, {
    args: [COMMAND, '--style', 'restart', prepared, target, '--', 'read'],
    stdin: 'read by the first\n',
  });
  t.is(status, 0, stderr);
  t.regex(
    `${stdout}${stderr}`,
    /a second run, to compare with, failed: it reached input, and the first one request/,
  );
});
