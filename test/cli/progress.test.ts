import test from 'ava';
import { ProgressLine } from '../../cli/progress.ts';

const MIB = 1 << 20;

/** A terminal that collects what is written to it, and a clock that is set by hand. */
function terminal(isTTY = true) {
  const written: string[] = [];
  const clock = { now: 0 };
  const line = new ProgressLine({ isTTY, write: text => written.push(text) }, 'writing', () => clock.now);
  return { written, clock, line };
}

test('ProgressLine shows bytes, share and speed of a long write', t => {
  const { written, clock, line } = terminal();
  line.update(0, 8 * MIB);
  clock.now = 1000;
  line.update(2 * MIB, 8 * MIB);
  t.deepEqual(written, ['\r\x1b[Kwriting 2.00 MiB of 8.00 MiB (25%), 2.00 MiB/s']);
});

test('ProgressLine shows nothing of a short write', t => {
  const { written, clock, line } = terminal();
  line.update(0, MIB);
  clock.now = 200;
  line.update(MIB, MIB);
  line.end();
  t.deepEqual(written, []);
});

test('ProgressLine shows at most ten updates a second', t => {
  const { written, clock, line } = terminal();
  for (clock.now = 0; clock.now <= 2000; clock.now++) line.update(clock.now, 2000);
  t.true(written.length > 10 && written.length <= 18, `${written.length} updates`);
});

test('ProgressLine wipes its line at the end, once', t => {
  const { written, clock, line } = terminal();
  line.update(0, 1);
  clock.now = 500;
  line.update(1, 1);
  line.end();
  line.end();
  t.deepEqual(written.slice(1), ['\r\x1b[K']);
});

test('ProgressLine writes nothing to what is no terminal', t => {
  const { written, clock, line } = terminal(false);
  line.update(0, 1);
  clock.now = 500;
  line.update(1, 1);
  line.end();
  t.deepEqual(written, []);
});
