/**
 * How a program is started where its image cannot go on (`--or-start`): as it was started for the freeze, or by
 * whoever did, and with what the image is given.
 *
 * @module
 */
import type { FreezeOptions } from './freeze.ts';
import { findProgram } from './sources/launch.ts';
import type { FrozenFrom, Source } from './sources/source.ts';
import type { NormalStart } from './styles/resume/fallback.ts';

/**
 * The new arguments come behind those of the freeze, which the program may need to come to its freeze point at all
 * (`perl report.pl`); at `main` it has seen none yet, and gets the new ones instead.
 *
 * @returns undefined unless it was asked for
 */
export function normalStart(
  from: FrozenFrom,
  { reached, image }: Pick<Source, 'reached' | 'image'>,
  options: FreezeOptions,
): NormalStart | undefined {
  if (options.orStart !== true) return undefined;
  if (typeof from !== 'string' || reached === 'core') {
    const { program, argv } = image.origin;
    return { program, argv, env: [], cwd: options.cwd === 'caller' ? undefined : image.cwd };
  }
  const program = findProgram(from);
  return {
    program,
    argv: [program, ...(reached === 'main' ? [] : (options.args ?? []))],
    env: options.env ?? [],
    cwd: options.cwd === 'caller' ? undefined : process.cwd(),
  };
}
