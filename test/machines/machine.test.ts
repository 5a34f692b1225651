import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { runMachine } from '../support/emulated-machine.ts';
import { sandbox } from '../support/sandbox.ts';

const directory = sandbox('machines');

for (const arch of ['x86_64', 'aarch64'] as const) {
  test(`an emulated ${arch} machine runs a script with the files that it was given, and gives back others`, async t => {
    const given = join(directory, `given-${arch}`);
    mkdirSync(join(given, 'below'), { recursive: true });
    writeFileSync(join(given, 'below/odd'), 'seven b', { mode: 0o640 });
    const collect = join(directory, `left-${arch}`);
    const { output, status } = await runMachine({
      arch,
      memory: 512,
      files: { '/given': given, '/deep/er/text': { text: 'words\n', mode: 0o755 } },
      script:
        'uname -rm; cat /given/below/odd /deep/er/text; stat -c %a /given/below/odd /deep/er/text /deep; ' +
        'mkdir /out/a; cp /given/below/odd /out/a; echo to stderr >&2; exit 7',
      collect,
    });
    t.regex(output, new RegExp(`^6\\.1\\.\\S+ ${arch}\nseven bwords\n640\n755\n755\nto stderr\n$`));
    t.is(status, 7);
    t.is(readFileSync(join(collect, 'a/odd'), 'utf8'), 'seven b');
    t.is(statSync(join(collect, 'a/odd')).mode & 0o777, 0o640);
  });
}

test('an emulated machine that hangs is ended, and its console told', async t => {
  const error = await t.throwsAsync(
    runMachine({ memory: 256, script: 'echo so far; sleep 100', timeout: 20 }),
  );
  t.regex(error?.message ?? '', /so far\n.*killed after 20 s/s);
});

test('an emulated CPU lacks what its model lacks', async t => {
  const flags = async (cpu: string): Promise<string> =>
    (await runMachine({ memory: 256, cpu, script: 'grep -m1 flags /proc/cpuinfo' })).output;
  const [old, newer] = [await flags('Nehalem'), await flags('max')];
  t.regex(old, / sse4_2 /);
  t.notRegex(old, / avx/);
  t.regex(newer, / avx2 /);
});
