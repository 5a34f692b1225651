import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { ptrace } from '../../../unexec/linux/libc.ts';
import { threadState } from '../../../unexec/linux/proc.ts';
import { PTRACE } from '../../../unexec/linux/ptrace.ts';
import { seizeProcess } from '../../../unexec/linux/seize.ts';
import { Tracee } from '../../../unexec/linux/tracee.ts';

test('the stop of a child that Node has started is ours, and no exit of the child', async t => {
  const child = spawn('/bin/sleep', ['1000'], { stdio: 'ignore' });
  const exit = once(child, 'exit');
  const pid = child.pid ?? 0;
  const tracee = new Tracee(pid, undefined);
  seizeProcess(pid, tracee);
  ptrace(PTRACE.INTERRUPT, pid, 0, 0);
  while (threadState(pid) !== 't') await sleep(5);
  // Node hears of its children in its event loop.
  for (let round = 0; round < 20; round++) await sleep(1);
  t.is((await tracee.next(5000))?.type, 'interrupted');
  t.is(child.exitCode, null);
  tracee.detach();
  child.kill('SIGKILL');
  t.deepEqual(await exit, [null, 'SIGKILL']);
});
