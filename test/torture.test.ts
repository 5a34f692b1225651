import test from 'ava';
import { repeatWith, torture } from './torture/main.ts';
import { TORTURE_NAMES } from './torture/programs.ts';

test('a program frozen at any of 300 random moments says in two lives what it says in one', async t => {
  t.timeout(600_000);
  const seed = Number(process.env['UNEXEC_TORTURE_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
  t.log(`seed ${seed}`);
  const { counts, failures } = await torture({ programs: TORTURE_NAMES, count: 300, seed });
  t.deepEqual(
    failures.map(failure => `${failure.program} ${failure.at}: ${failure.detail}; ${repeatWith(failure)}`),
    [],
    `seed ${seed}`,
  );
  t.is(counts.same + counts.ended, 300);
  t.true(counts.same > 200, `only ${counts.same} moments were before the end`);
});
