/**
 * The commands that have a name. A new one is a file beside this and a line here.
 *
 * @module
 */
import type { Command } from '../command.ts';
import { DIFF } from './diff.ts';
import { INSPECT } from './inspect.ts';
import { MAP } from './map.ts';
import { PREPARE } from './prepare.ts';
import { VERIFY } from './verify.ts';

export const COMMANDS: readonly Command[] = [VERIFY, MAP, PREPARE, INSPECT, DIFF];
