/**
 * Each reason for which a process cannot be traced is told as that reason. Those that can be are brought about; the
 * others are read from what /proc would say.
 */
import { spawn as spawnChild } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { UnexecError } from '../../../unexec/errors.ts';
import { notPermitted, requireTraceable } from '../../../unexec/linux/may-trace.ts';
import { PROC, type ProcReader } from '../../../unexec/linux/process-facts.ts';
import { COMMAND } from '../../support/command.ts';
import { compileFixture } from '../../support/fixtures.ts';
import { directoryForNobody } from '../../support/freeze-program.ts';
import { AS_NOBODY, isRoot, run } from '../../support/run.ts';
import { type Running, start } from '../../support/running.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('may-trace');
const forNobody = directoryForNobody(directory);
const hold = compileFixture('attach/protected.c');
let count = 0;

async function running(t: ExecutionContext, command: readonly string[]): Promise<Running> {
  const program = start(command, join(directory, `log-${count++}`));
  t.teardown(() => program.end());
  await program.says('ready');
  return program;
}

interface Told {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  readonly status: number | null;
}

/** What the command says of a process, run through another one. */
async function told(pid: number, through: readonly string[] = []): Promise<Told> {
  const target = join(forNobody, `image-${count++}`);
  const { stdout, stderr, status } = await run(process.execPath, {
    through,
    args: [COMMAND, '--json', String(pid), target],
    cwd: '/',
  });
  if (stdout === '') throw new Error(`unexec said nothing: ${stderr}`);
  return { ...JSON.parse(stdout).error, status };
}

test.before(t => {
  t.true(isRoot, 'root makes processes of other users');
});

test('there is no such process', async t => {
  const { code, message, hint, status } = await told(4_194_000);
  t.is(code, 'NO_SUCH_PROCESS');
  t.regex(message, /no process 4194000/);
  t.regex(hint, /\.\/1234/);
  t.is(status, 6);
});

test('unexec itself is refused', t => {
  t.like(
    t.throws(() => requireTraceable(process.pid), { instanceOf: UnexecError }),
    { code: 'OWN_PROCESS' },
  );
});

test('a thread of the kernel is refused', async t => {
  const { code, message } = await told(2);
  t.is(code, 'KERNEL_THREAD');
  t.regex(message, /kthreadd/);
});

test('a thread is refused by the number of its process', async t => {
  const program = await running(t, [compileFixture('attach/churn.c'), join(directory, 'never')]);
  const [, thread = 0] = PROC.entries(`/proc/${program.pid}/task`).map(Number);
  const { code, message, hint } = await told(thread);
  t.is(code, 'NO_PROCESS_BUT_THREAD');
  t.regex(message, new RegExp(`thread of process ${program.pid}`));
  t.is(hint, `give ${program.pid}`);
});

test('a zombie is refused, with whom it waits for', async t => {
  const program = await running(t, [hold, 'zombie']);
  const { code, message } = await told(Number(program.written().split('\n')[0]));
  t.is(code, 'ZOMBIE');
  t.regex(message, new RegExp(`process ${program.pid}`));
});

test('a process whose first thread has ended is refused', async t => {
  const program = await running(t, [compileFixture('attach/headless.c')]);
  await program.becomes('Z');
  t.is((await told(program.pid)).code, 'MAIN_THREAD_ENDED');
});

test('another tracer is told by number and name', async t => {
  const program = await running(t, [hold]);
  const commands = ['-nx', '-batch', '-p', String(program.pid), '-ex', 'shell sleep 60'];
  const debuggerProcess = spawnChild('gdb', commands, { stdio: 'ignore', detached: true });
  t.teardown(() => {
    if (debuggerProcess.pid !== undefined) process.kill(-debuggerProcess.pid, 'SIGKILL');
  });
  while (!/^TracerPid:\t[1-9]/m.test(PROC.text(`/proc/${program.pid}/status`) ?? '')) await sleep(20);
  const { code, message, hint } = await told(program.pid);
  t.is(code, 'ALREADY_TRACED');
  t.regex(message, new RegExp(`traced by process ${debuggerProcess.pid} \\(gdb\\)`));
  t.regex(hint, /detach/);
});

test('a 32-bit program is refused', async t => {
  // Only the class of its executable is looked at: the rest of it need not run here.
  const program = await running(t, [hold]);
  const error = t.throws(
    () => requireTraceable(program.pid, { ...PROC, start: () => Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 1) }),
    { instanceOf: UnexecError },
  );
  t.is(error?.code, 'PROCESS_32_BIT');
});

test('a process under a seccomp filter is refused before it is touched', async t => {
  const program = await running(t, [hold, 'seccomp']);
  const { code, hint, status } = await told(program.pid);
  t.is(code, 'SECCOMP');
  t.regex(hint, /--no-sandbox/);
  t.is(status, 3);
});

test("another user's process is refused with both names", async t => {
  const program = await running(t, [hold]);
  const { code, message, hint, status } = await told(program.pid, AS_NOBODY);
  t.is(code, 'OTHER_USER');
  t.regex(message, /user root, and unexec runs as nobody/);
  t.regex(hint, /sudo -u root/);
  t.is(status, 6);
});

test('a setuid process is refused to who started it', async t => {
  const setuid = join(directory, 'setuid');
  copyFileSync(hold, setuid);
  chmodSync(setuid, 0o4755);
  const program = await running(t, [...AS_NOBODY, setuid]);
  const { code, message } = await told(program.pid, AS_NOBODY);
  t.is(code, 'SETUID_PROCESS');
  t.regex(message, /users 65534, 0, 0/);
});

test('a process that is not dumpable is refused', async t => {
  const program = await running(t, [...AS_NOBODY, hold, 'undumpable']);
  const { code, message } = await told(program.pid, AS_NOBODY);
  t.is(code, 'NOT_DUMPABLE');
  t.regex(message, /PR_SET_DUMPABLE/);
});

test('root freezes what does not want to be read', async t => {
  const program = await running(t, [...AS_NOBODY, hold, 'undumpable']);
  const target = join(directory, 'as-root');
  const { status, stderr } = await run(process.execPath, { args: [COMMAND, String(program.pid), target] });
  t.is(status, 0, stderr);
  t.true(existsSync(target));
});

test('a process with more capabilities is refused', async t => {
  const program = await running(t, [hold]);
  const without = ['/usr/bin/setpriv', '--bounding-set=-sys_ptrace,-chown', '--inh-caps=-all', '--'];
  const { code, message, hint } = await told(program.pid, without);
  t.is(code, 'MORE_CAPABILITIES');
  t.regex(message, /0x80001\b/);
  t.regex(hint, /CAP_SYS_PTRACE/);
});

test('a filter over unexec itself is told as that', async t => {
  const program = await running(t, [hold]);
  const { code, hint } = await told(program.pid, [hold, 'filtering']);
  t.is(code, 'PTRACE_FILTERED');
  t.regex(hint, /--cap-add SYS_PTRACE/);
});

const namespaces: readonly (readonly [kind: string, flags: readonly string[], what: RegExp])[] = [
  ['mnt', ['--mount'], /mnt \(its paths lead elsewhere\)/],
  ['pid', ['--pid', '--fork', '--kill-child'], /pid \(it knows its threads by other numbers\)/],
  ['user', ['--user'], /user \(its users are others there\)/],
  ['time', ['--time', '--fork', '--kill-child'], /time \(its clocks are others\)/],
];
for (const [kind, flags, what] of namespaces) {
  test(`a process in another ${kind} namespace is refused with the command that enters it`, async t => {
    const program = await running(t, ['/usr/bin/unshare', ...flags, hold]);
    const [child = program.pid] = childrenOf(program.pid);
    const { code, message, hint } = await told(child);
    t.is(code, 'OTHER_NAMESPACE');
    t.regex(message, what);
    t.is(hint.includes(`nsenter --target ${child} --all`), true, hint);
  });
}

const childrenOf = (pid: number): number[] =>
  (PROC.text(`/proc/${pid}/task/${pid}/children`) ?? '').split(' ').filter(Boolean).map(Number);

test('a container is told by its name', async t => {
  const program = await running(t, [hold]);
  const id = '0123456789abcdef'.repeat(4);
  const proc: ProcReader = {
    ...PROC,
    text: path =>
      path === `/proc/${program.pid}/cgroup` ? `0::/system.slice/docker-${id}.scope\n` : PROC.text(path),
    link: path => (path === `/proc/${program.pid}/ns/mnt` ? 'mnt:[1]' : PROC.link(path)),
  };
  const error = t.throws(() => requireTraceable(program.pid, proc), { instanceOf: UnexecError });
  t.regex(error?.message ?? '', /container 0123456789ab: mnt/);
  t.regex(error?.hint ?? '', /docker exec 0123456789ab unexec/);
});

test('a process behind a chroot is refused by its directory', async t => {
  const root = join(directory, 'root');
  const program = compileFixture('attach/protected.c', ['-static']);
  mkdirSync(join(root, dirname(program)), { recursive: true });
  copyFileSync(program, join(root, program));
  chmodSync(join(root, program), 0o755);
  const inside = await running(t, ['/usr/sbin/chroot', root, program]);
  const { code, message, hint } = await told(inside.pid);
  t.is(code, 'OTHER_ROOT');
  t.true(message.includes(root));
  t.true(hint.includes(`chroot ${root}`));
});

/** /proc as a user without capabilities finds it on a kernel with Yama. */
const withYama = (scope: number): ProcReader => ({
  ...PROC,
  text: path => {
    if (path === '/proc/sys/kernel/yama/ptrace_scope') return `${scope}\n`;
    const text = PROC.text(path);
    return path.endsWith('/status') ? text?.replace(/^(Cap\w+:\s*)[0-9a-f]+$/gm, '$10000000000000000') : text;
  },
});

test('Yama is told by its value, with what to set', async t => {
  const program = await running(t, [hold]);
  const second = await running(t, ['/bin/sh', '-c', `exec ${hold}`]);
  const orphan = 1;
  for (const [scope, pid, what, hint] of [
    [
      1,
      orphan,
      /is 1, only its ancestors may trace/,
      /PR_SET_PTRACER.*ptrace_scope=0|ptrace_scope=0.*PR_SET_PTRACER/,
    ],
    [2, program.pid, /is 2, only root may trace/, /ptrace_scope=0, or run unexec as root/],
    [3, second.pid, /is 3, nobody may/, /next start of the machine/],
  ] as const) {
    const error = notPermitted(pid, withYama(scope));
    t.is(error.code, 'YAMA', error.message);
    t.regex(error.message, what);
    t.regex(error.hint ?? '', hint);
  }
  // Of a descendant scope 1 is not the reason, and /proc has no other.
  t.is(notPermitted(program.pid, withYama(1)).code, 'PTRACE_NOT_PERMITTED');
});

test('a label of a security module is told', async t => {
  const program = await running(t, [hold]);
  const proc: ProcReader = {
    ...PROC,
    text: path => {
      if (path === `/proc/${program.pid}/attr/current`) return 'docker-default (enforce)\n';
      return path === '/proc/self/attr/current' ? 'unconfined\n' : PROC.text(path);
    },
  };
  const error = notPermitted(program.pid, proc);
  t.is(error.code, 'SECURITY_MODULE');
  t.regex(error.message, /docker-default \(enforce\)/);
});
