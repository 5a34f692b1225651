/**
 * How a program is started for a freeze: with an environment of its own, so that nothing of the caller's
 * travels unasked.
 *
 * @module
 */
import type { FreezeOptions } from '../freeze.ts';
import { DEFAULT_PATH, type LaunchOptions } from './launch.ts';

type StartOptions = Pick<FreezeOptions, 'args' | 'env' | 'keepEnv' | 'stdio' | 'reproducible' | 'signal'>;

/** How the program is started. */
export function launchOptions(options: StartOptions): LaunchOptions {
  const own = options.env ?? [];
  const inherited = Object.entries(process.env).map(([name, value]) => `${name}=${value}`);
  const base = options.keepEnv === true ? inherited : [`PATH=${DEFAULT_PATH}`];
  const names = new Set(own.map(nameOf));
  return {
    args: options.args ?? [],
    env: [...base.filter(entry => !names.has(nameOf(entry))), ...own],
    keepEnv: options.keepEnv ?? false,
    stdio: options.stdio ?? [0, 1, 2],
    fixed: options.reproducible ?? false,
    signal: options.signal,
  };
}

const nameOf = (entry: string): string => entry.slice(0, Math.max(0, entry.indexOf('=')));
