/**
 * Second and later lives without any tool: variables and zone put back at their addresses in a new
 * process. Images that are written and loaded are in test/unexec/styles/.
 */
import { join } from 'node:path';
import test from 'ava';
import { run } from '../../support/run.ts';
import { buildWithRuntime, MIB } from '../../support/runtime.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('runtime-lives');
const LIVES = 4;

test('later lives find the zone, use its blocks as new ones, and say what one long life says', async t => {
  const source = 'test/fixtures/runtime/lives.c';
  const flags = ['-no-pie', '-Wl,-z,max-page-size=16384'];
  const program = buildWithRuntime({ source, output: join(directory, 'lives'), reserve: 4 * MIB, flags });
  const world = buildWithRuntime({ source: 'samples/restart/world.c', output: join(directory, 'world') });
  const saved = join(directory, 'saved');
  const said: string[] = [];
  for (let life = 1; life <= LIVES; life++) {
    const args = [life === 1 ? 'first' : 'again', saved];
    const { stdout, status } = await run(program, { args, through: ['setarch', '-R'] });
    t.is(status, 0);
    const [start, ...lines] = stdout.trimEnd().split('\n');
    t.is(start, life === 1 ? 'started' : 'restarted');
    t.is(lines.pop(), `life ${life}: default 1, busy 0, overflow 0, pages of 4096`);
    said.push(...lines);
  }
  const { stdout } = await run(world, { args: [String(LIVES)] });
  t.deepEqual(said, stdout.trimEnd().split('\n').slice(1));
});
