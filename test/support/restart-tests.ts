/**
 * What every real program must stand when it is dumped in style restart: started at 100 different layouts, dumped
 * again, read by a debugger, and run with the C library of another release, it always says what an uninterrupted
 * run says. The programs are those of samples/restart/interpreters: each evaluates its arguments, in any life.
 *
 * @module
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { PT, readElf } from '../../formats/elf/index.ts';
import { prepare, type RestartOptions, type RestartReport, restart } from '../../unexec/index.ts';
import { complaintsOfElf } from './judge-elf.ts';
import { type Outcome, run } from './run.ts';
import { RUNTIME, RUNTIME_SOURCE } from './runtime.ts';
import { ROOT, sandbox } from './sandbox.ts';

export interface RestartedProgram {
  readonly name: string;
  /** What is compiled and linked with the runtime: sources, libraries and flags. */
  readonly sources: readonly string[];
  /** What the first life evaluates; it prints nothing. */
  readonly load: string;
  /** What the second life does with it: it prints, allocates, and frees what the first one made. */
  readonly use: string;
  /** What is evaluated before the second dump; it prints nothing. */
  readonly change: string;
}

export interface RestartTests {
  readonly directory: string;
  /** Builds, prepares and dumps the program. Strict, unless options say otherwise. */
  readonly dump: (
    variant: string,
    options?: RestartOptions & { readonly flags?: readonly string[]; readonly sources?: readonly string[] },
  ) => Promise<RestartReport>;
  /** Runs the executable's part of the story. */
  readonly use: (program: string) => Promise<Outcome>;
}

const LAYOUTS = 100;
const SAMPLES = join(ROOT, 'samples/restart/interpreters');
const NEW_LIBC = join(ROOT, '.cache/debian/trixie/libc6/usr');
const LOADER = join(NEW_LIBC, 'lib64/ld-linux-x86-64.so.2');
const LIBRARIES = join(NEW_LIBC, 'lib/x86_64-linux-gnu');
const SYSTEM_LIBRARIES = '/usr/lib/x86_64-linux-gnu';

/** What eu-elflint says of every such file. */
const EXPECTED: readonly RegExp[] = [
  /unknown object file note type . with owner name 'unexec'/,
  // An alias of a variable that the loader copies here (environ of __environ): excused in a .bss without contents.
  /'\.gnu\.version': symbol( \d+)?: version index \d+ is for requested version/,
];

/** Source of a program of samples/restart/interpreters. */
export const interpreter = (file: string): string => join(SAMPLES, file);

/** Path of a Debian source or binary package that `npm test` fetches. */
export function debianFiles(name: string, suite = 'trixie'): string {
  const path = join(ROOT, '.cache/debian', suite, name);
  if (!existsSync(path)) throw new Error(`${path} is missing: npm test fetches it (.ci/debian-files.json)`);
  return path;
}

/** Registers the tests of a program. */
export function restartTests(subject: RestartedProgram): RestartTests {
  const { name, sources, load, use, change } = subject;
  const directory = sandbox('re'); // a short one, for a path in the place of the interpreter's
  const dump: RestartTests['dump'] = async (variant, { flags = [], ...options } = {}) => {
    const { sources: own = sources, ...rest } = options;
    const program = join(directory, variant);
    const common = ['-O1', '-g', '-w', `-I${RUNTIME}`, '-pthread', '-o', program];
    execFileSync('gcc', [...common, RUNTIME_SOURCE, ...flags, ...own]);
    await prepare(program, `${program}.prepared`, { reserve: 128 << 20 });
    return restart(`${program}.prepared`, `${program}.restart`, {
      at: 'request',
      args: [load],
      strict: true,
      ...rest,
    });
  };
  const second = once(async () => (await dump(name, { strict: false })).target);
  const whole = once(() => run(join(directory, name), { args: [load, use] }));

  test.serial(`${name} says the same in two lives as in one`, async t => {
    const restarted = await run(await second(), { args: [use] });
    const { stdout, status, signal, stderr } = await whole();
    t.deepEqual({ status, signal, stderr }, { status: 0, signal: null, stderr: '' });
    t.true(stdout.split('\n').length > 3, stdout);
    t.deepEqual(restarted, await whole());
  });

  test.serial(`${name} is started ${LAYOUTS} times, each time at other addresses`, async t => {
    const program = await second();
    const { stdout } = await whole();
    const entries = new Set<string>();
    const env = { LD_SHOW_AUXV: '1' }; // the loader prints what the kernel told it
    for (let i = 0; i < LAYOUTS; i++) {
      const outcome = await run(program, { args: [use], env });
      const lines = outcome.stdout.split('\n').filter(line => !line.startsWith('AT_'));
      t.is(outcome.status, 0, outcome.stderr);
      t.is(lines.join('\n'), stdout);
      entries.add(/^AT_ENTRY:\s+(0x[0-9a-f]+)$/m.exec(outcome.stdout)?.[1] ?? 'none');
    }
    t.is(entries.size, LAYOUTS);
  });

  test.serial(`${name} is dumped again, and its third life goes on`, async t => {
    const third = join(directory, 'third');
    const { generation } = await restart(await second(), third, { at: 'request', args: [change] });
    t.is(generation, 2);
    const { stdout } = await run(join(directory, name), { args: [load, change, use] });
    t.not(stdout, (await whole()).stdout);
    t.like(await run(third, { args: [use] }), { stdout, status: 0, stderr: '' });
  });

  test.serial(`gdb reads a dumped variable of ${name} without running it`, async t => {
    const read = (program: string): string =>
      execFileSync('gdb', ['--batch', '-nx', '-ex', 'print (long)chunks', program], { encoding: 'utf8' });
    t.is(read(join(directory, name)), '$1 = 0\n');
    t.is(read(await second()), '$1 = 1\n');
  });

  test.serial(`foreign tools find nothing in the file of ${name} that was not there before`, async t => {
    const program = await second();
    const complaints = complaintsOfElf(program, join(directory, name));
    t.deepEqual(
      complaints.filter(line => !EXPECTED.some(expected => expected.test(line))),
      [],
    );
  });

  test.serial(`${name} is started with the C library of a newer release`, async t => {
    const program = await second();
    const { stdout } = await whole();
    const path = `${LIBRARIES}:${SYSTEM_LIBRARIES}`;
    debianFiles('libc6');
    t.not(versionOf(join(LIBRARIES, 'libc.so.6')), versionOf(join(SYSTEM_LIBRARIES, 'libc.so.6')));

    const throughLoader = await run(LOADER, { args: ['--library-path', path, program, use] });
    t.like(throughLoader, { stdout, status: 0, stderr: '' });

    // And as the kernel starts it: the file names its loader itself.
    const upgraded = join(directory, 'upgraded');
    execFileSync('ln', ['-sf', LOADER, join(directory, 'ld')]);
    writeFileSync(upgraded, withInterpreter(readFileSync(program), join(directory, 'ld')), { mode: 0o755 });
    const env = { LD_LIBRARY_PATH: path, LD_DEBUG: 'libs' };
    const started = await run(upgraded, { args: [use], env });
    t.like(started, { stdout, status: 0 });
    t.true(started.stderr.includes(`calling init: ${join(LIBRARIES, 'libc.so.6')}`), started.stderr);
  });

  return { directory, dump, use: program => run(program, { args: [use] }) };
}

/** `2.41`: the newest version of its own symbols. */
function versionOf(libc: string): string {
  const text = readFileSync(libc, 'latin1');
  return /GNU C Library \(.*?\) \w+ release version (\d+\.\d+)/.exec(text)?.[1] ?? 'none';
}

function withInterpreter(file: Buffer, path: string): Buffer {
  const segment = readElf(file).segments.find(({ type }) => type === PT.PT_INTERP);
  if (segment === undefined) throw new Error('no PT_INTERP');
  if (path.length >= segment.fileSize) throw new Error(`${path} has no room in ${segment.fileSize} bytes`);
  const copy = Buffer.from(file);
  copy.fill(0, segment.offset, segment.offset + segment.fileSize);
  copy.write(path, segment.offset);
  return copy;
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
