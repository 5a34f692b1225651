import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { FreezeOptions } from '../../unexec/freeze.ts';
import { runMachine } from '../support/emulated-machine.ts';
import { compileFixture } from '../support/fixtures.ts';
import { type Frozen, freezeProgram } from '../support/freeze-program.ts';
import { run } from '../support/run.ts';
import { sandbox } from '../support/sandbox.ts';

const directory = sandbox('other-kernel');

/** An emulated machine has no AVX-512. */
const OPTIONS: Omit<FreezeOptions, 'stdio'> = { cpu: 'x86-64-v3', cwd: 'caller' };

/** What a program says here, from its start to its end, and as an image there, both with the status. */
interface Story {
  readonly name: string;
  readonly says: string;
  readonly frozen: Frozen;
  /** Runs it there through another program. */
  readonly through?: string;
}

/**
 * Runs images on Debian's kernel 6.1, each in a root with nothing but /proc, an empty /tmp and itself, and compares with
 * what they say here without interruption.
 */
async function runThere(stories: readonly Story[]): Promise<{ name: string; says: string; said: string }[]> {
  const lines = stories.map(
    ({ through }, i) => `
      echo "---- ${i}"
      mkdir -p /root${i}/proc /root${i}/tmp${directory}
      mount -t proc proc /root${i}/proc
      mv /image${i} /root${i}/image
      ${through === undefined ? '' : `cp /through /root${i}/through`}
      timeout -s KILL 20 chroot /root${i} ${through === undefined ? '' : '/through '}/image
      echo "status $?"
      rm /root${i}/image`,
  );
  const through = stories.find(story => story.through !== undefined)?.through;
  const { output } = await runMachine({
    cpus: 2,
    memory: 2048,
    files: {
      ...Object.fromEntries(stories.map(({ frozen }, i) => [`/image${i}`, frozen.path])),
      ...(through === undefined ? {} : { '/through': through }),
    },
    script: lines.join('\n'),
  });
  const said = output.split(/---- \d+\n/).slice(1);
  return stories.map(({ name, says, frozen }, i) => ({
    name,
    says,
    said: `${frozen.written}${said[i]?.replaceAll(`/root${i}`, '') ?? ''}`,
  }));
}

let count = 0;

async function story(
  name: string,
  program: string,
  options: typeof OPTIONS & { readonly args: readonly string[] },
): Promise<Story> {
  const whole = await run(program, { args: options.args });
  const frozen = await freezeProgram(program, join(directory, `image-${count++}`), {
    ...OPTIONS,
    ...options,
  });
  return { name, says: `${whole.stdout}${whole.stderr}status ${whole.status}\n`, frozen };
}

/** A fixture has a directory of its own in each life. */
async function fixtureStory(fixture: string, options: typeof OPTIONS = {}): Promise<Story> {
  const name = [fixture, ...(options.avoid ?? [])].join(' without ');
  return story(name, compileFixture(`${fixture}.c`), { ...options, args: [directory] });
}

async function sameThere(t: ExecutionContext, stories: readonly Story[]): Promise<void> {
  for (const { name, says, said } of await runThere(stories)) t.is(said, says, name);
}

/** The emulated machine has been up for a few seconds. */
const later = compileFixture('machines/later.c', ['-static']);

test("the state of a process is given back on Debian's kernel 6.1", async t => {
  const fixtures = [
    'state/alternate-stack',
    'state/break',
    'state/cpu-number',
    'state/discarded',
    'state/gs-base',
    'state/interval-timers',
    'state/memory',
    'state/mutexes',
    'state/posix-timers',
    'state/signals',
    'state/threads',
    'state/trap-handler',
    'state/waiting',
    'files/epoll',
    'files/eventfd',
    'files/pipes',
    'files/shared-memory',
    'files/signalfd',
    'files/socketpairs',
    'files/timerfd',
  ];
  const stories = [];
  for (const fixture of fixtures) stories.push(await fixtureStory(fixture));
  await sameThere(t, stories);
});

test("a process goes on on Debian's kernel 6.1 without what other kernels lack, one by one and together", async t => {
  const features = ['vdso', 'mmMap', 'rseq', 'timerIds', 'unmapVdso'] as const;
  const avoided = [...features.map(feature => [feature]), [...features]];
  const stories = [];
  for (const avoid of avoided) {
    for (const fixture of ['state/threads', 'state/break', 'state/posix-timers']) {
      stories.push(await fixtureStory(fixture, { avoid }));
    }
  }
  await sameThere(t, stories);
});

test("perl, python and node go on on Debian's kernel 6.1", async t => {
  const perl = `use POSIX; use Encode; my %data = map { ("key $_" => [$_, sqrt $_]) } 1 .. 500; encode('UTF-16LE', 'loaded'); kill STOP => $$;
    print join(',', map { sprintf '%s=%.3f', $_, $data{$_}[1] } (sort keys %data)[0 .. 9]), "\n";
    print encode('UTF-16LE', 'words') eq "w\\0o\\0r\\0d\\0s\\0", ' ', POSIX::floor(3.7), ' ', time > 1e9, "\n"; exit 3`;
  const python = `import os, signal, json, asyncio, hashlib, threading, decimal
os.kill(os.getpid(), signal.SIGSTOP)
print(json.dumps({'a': [1, None]}), hashlib.sha256(b'unexec').hexdigest(), decimal.Decimal(2).sqrt())
async def work(n):
    await asyncio.sleep(0.001 * n)
    return n * n
async def all_work():
    return await asyncio.gather(*[work(n) for n in range(5)])
print(asyncio.run(all_work()))
results = []
threads = [threading.Thread(target=lambda n=n: results.append(n)) for n in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(sorted(results))`;
  const node = `const zlib = require('zlib'), crypto = require('crypto');
    process.kill(process.pid, 'SIGSTOP');
    setTimeout(async () => {
      console.log(zlib.gunzipSync(zlib.gzipSync('words')).toString(), crypto.createHash('sha256').update('a').digest('hex'));
      await new Promise(done => setTimeout(done, 5));
      console.log((await require('fs/promises').readdir('/proc/self/task')).length > 1);
      try { null.x } catch (error) { console.log(error instanceof TypeError) }
    }, 1);`;
  // What chooses by CPUID itself: OpenSSL (nothing of leaf 7), and node's own base64 and UTF-8.
  const openssl = 'OPENSSL_ia32cap=:0';
  const env = [openssl, 'SIMDUTF_FORCE_IMPLEMENTATION=haswell'];
  await sameThere(t, [
    await story('perl', '/usr/bin/perl', { args: ['-e', perl] }),
    await story('python', '/usr/bin/python3', { args: ['-c', python], env: [openssl] }),
    // Its clock must not go back.
    { ...(await story('node', process.execPath, { args: ['-e', node], env })), through: later },
    { ...(await fixtureStory('state/clocks')), through: later },
  ]);
});
