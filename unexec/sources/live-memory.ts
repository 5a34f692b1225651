/**
 * The memory of a program that we start and stop at its freeze point, and nothing else of it: no system call
 * is made within it, so it may as well be an emulator that runs code of another machine.
 *
 * @module
 */
import type { FreezePoint } from '../freeze-point.ts';
import type { MemoryImage } from '../image.ts';
import { ProcessMemory } from '../linux/memory.ts';
import { parseSmaps, readProc } from '../linux/proc.ts';
import { nameRegions } from '../linux/regions.ts';
import { requireSupportedMachine } from '../linux/supported-machine.ts';
import { ARCH } from '../linux/this-machine.ts';
import { type LaunchOptions, launch } from './launch.ts';
import { type Reached, runToFreezePoint } from './run-to-freeze-point.ts';

export interface LiveMemory {
  readonly pid: number;
  readonly reached: Reached;
  /** Valid until `release`; the process stands. */
  readonly image: MemoryImage;
  /** Kills the process, or lets it go on by itself. */
  release(how?: 'kill' | 'let-go'): void;
}

/**
 * Starts a program, runs it to its freeze point and stops every thread.
 *
 * @throws UnexecError as `requireSupportedMachine`, `launch` and `runToFreezePoint`; `CANNOT_STOP`, `PROC_UNREADABLE`
 */
export async function openLive(
  program: string,
  point: FreezePoint,
  options: LaunchOptions,
): Promise<LiveMemory> {
  requireSupportedMachine();
  const tracee = await launch(program, options);
  try {
    const reached = await runToFreezePoint(tracee, point);
    await tracee.stopAll();
    const { pid } = tracee;
    const memory = new ProcessMemory(pid);
    const mappings = parseSmaps(readProc(`/proc/${pid}/smaps`));
    for (const mapping of mappings) if (mapping.populated === 0) memory.markEmpty(mapping.start);
    return {
      pid,
      reached,
      image: { arch: ARCH, regions: nameRegions(mappings, []), memory },
      release: (how = 'kill') => {
        memory.close();
        if (how === 'kill') tracee.kill();
        else tracee.detach();
      },
    };
  } catch (error) {
    tracee.kill();
    throw error;
  }
}
