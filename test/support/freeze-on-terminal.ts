/**
 * Freezes a program that has our own terminal: run by terminal.ts in a process of its own.
 *
 * @module
 */
import { chmodSync } from 'node:fs';
import { freeze } from '../../unexec/freeze.ts';

const [program, path, options] = JSON.parse(process.argv[2] ?? '[]');
await freeze(program, path, options);
chmodSync(path, 0o755);
process.stdout.write('[frozen]\n');
// At a proper exit Node would put the terminal's modes back itself, and hide what freeze() leaves behind.
process.kill(process.pid, 'SIGKILL');
