import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { ownMark, removeStale, TEMPORARY_PREFIX } from '../../unexec/stale-files.ts';
import { openTarget } from '../../unexec/target-file.ts';
import { sandbox } from '../support/sandbox.ts';

const base = sandbox('stale');

/** A process id that no process has any more. */
const deadPid = (): number => spawnSync('/bin/true').pid;

test('removeStale() removes what dead processes left, and nothing else', t => {
  const directory = join(base, 'all');
  mkdirSync(directory);
  const mark = ownMark();
  const stale = `${TEMPORARY_PREFIX}-${deadPid()}-abcABC012345-${mark}`;
  const kept = [
    `${TEMPORARY_PREFIX}-${process.pid}-abcABC012345-${mark}`,
    `${TEMPORARY_PREFIX}-1-abcABC012345-${mark}`,
    `${TEMPORARY_PREFIX}-${deadPid()}-abcABC012345-${mark === '00000000' ? '11111111' : '00000000'}`,
    `${TEMPORARY_PREFIX}-${deadPid()}-abcABC012345`,
    `${TEMPORARY_PREFIX}-0-abcABC012345-${mark}`,
    `x${stale}`,
    'out',
  ].sort();
  for (const name of [stale, ...kept]) writeFileSync(join(directory, name), '');
  const link = `${TEMPORARY_PREFIX}-${deadPid()}-link-${mark}`;
  symlinkSync('out', join(directory, link));
  removeStale(directory);
  t.deepEqual(readdirSync(directory).sort(), [...kept, link].sort());
});

test('removeStale() says nothing of a directory that cannot be read', t => {
  t.notThrows(() => removeStale(join(base, 'none')));
});

test('openTarget() gives its file a name that removeStale() knows', async t => {
  const directory = join(base, 'named');
  mkdirSync(directory);
  const file = await openTarget(join(directory, 'out'));
  const [name = ''] = readdirSync(directory);
  removeStale(directory);
  t.deepEqual(readdirSync(directory), [name], 'its maker lives');
  writeFileSync(join(directory, name.replace(`-${process.pid}-`, `-${deadPid()}-`)), '');
  removeStale(directory);
  t.deepEqual(readdirSync(directory), [name]);
  await file.abandon();
});
