/**
 * A program that we start and run to its freeze point.
 *
 * @module
 */
import { closeSync, openSync, readSync } from 'node:fs';
import type { CpuLevel } from '../cpu-features.ts';
import { UnexecError } from '../errors.ts';
import { rememberTerminal } from '../linux/caller-terminal.ts';
import type { Captured } from '../linux/capture.ts';
import { ARCH } from '../linux/this-machine.ts';
import type { Tracee } from '../linux/tracee.ts';
import { captureReached } from './capture-reached.ts';
import { StartedForCpu } from './cpu-level.ts';
import { findProgram, launch } from './launch.ts';
import { launchOptions } from './launch-options.ts';
import { loaderVariables } from './loader-variables.ts';
import { runToFreezePoint } from './run-to-freeze-point.ts';
import type { Opening, Source } from './source.ts';

/**
 * Starts a program and stops it at its freeze point.
 *
 * @throws UnexecError as `launch`, `runToFreezePoint` and `capture`; `SCRIPT_AT_MAIN`
 */
export async function startedProgram(program: string, { options, point, say }: Opening): Promise<Source> {
  if (point.type === 'now') {
    throw new UnexecError('BAD_FREEZE_POINT', 'a program that is to be started is nowhere yet (--at now)', {
      hint: `now is for a process that runs: give its number rather than ${program}`,
    });
  }
  if (point.type === 'main') refuseScript(findProgram(program));
  const restoreTerminal = rememberTerminal(options.stdio ?? [0, 1, 2]);
  let tracee: Tracee | undefined;
  let captured: Captured | undefined;
  let forCpu: StartedForCpu | undefined;
  let gone = false;
  const release = async (): Promise<void> => {
    captured?.release();
    captured = undefined;
    tracee?.kill();
    tracee = undefined;
    forCpu?.close();
    forCpu = undefined;
    // A program that goes on keeps the terminal as it likes it.
    if (!(gone && options.leaveRunning === true)) restoreTerminal();
  };
  try {
    say('starting');
    const { cpu = 'native' } = options;
    requireLevels(cpu);
    const start = launchOptions(options);
    const variables = loaderVariables(start.env, cpu);
    tracee = await launch(program, { ...start, env: variables.env });
    if (cpu !== 'native') forCpu = new StartedForCpu(tracee, cpu, variables);
    say('running');
    const reached = await runToFreezePoint(tracee, point, options.reproducible);
    await tracee.stopAll();
    say('capturing');
    captured = captureReached(tracee, point, reached, options, false);
    const { pid } = tracee;
    return {
      image: forCpu?.restrict(captured.image) ?? captured.image,
      reached: reached.point,
      stoppedAt: reached.stoppedAt,
      goesOn: options.leaveRunning === true,
      letGo: () => {
        captured?.release();
        captured = undefined;
        gone = true;
        if (options.leaveRunning === true) tracee?.detach();
        else tracee?.kill();
        tracee = undefined;
        return options.leaveRunning === true ? pid : undefined;
      },
      release,
    };
  } catch (error) {
    await release();
    throw error;
  }
}

/** At its main an interpreter has not read the name of the script: each start's arguments would take its place. */
function refuseScript(path: string): void {
  const [line = ''] = startOf(path).toString().split('\n');
  if (!line.startsWith('#!')) return;
  throw new UnexecError('SCRIPT_AT_MAIN', `${path} is a script: main is that of its interpreter (${line})`, {
    path,
    hint: 'freeze it where it has been read (--at stop, input, output:TEXT), or give the program that it starts',
  });
}

function startOf(path: string): Buffer {
  const file = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(128);
    return bytes.subarray(0, readSync(file, bytes, 0, bytes.length, 0));
  } finally {
    closeSync(file);
  }
}

function requireLevels(cpu: CpuLevel): void {
  if (cpu === 'native' || ARCH === 'x86_64') return;
  throw new UnexecError(
    'UNSUPPORTED_MACHINE',
    `${cpu} is a level of x86-64 CPUs, and this machine is ${ARCH}`,
  );
}
