/**
 * The tests of operations.test.ts once more: the restorer for aarch64, emulated where this machine is none.
 *
 * @module
 */
import { buildFor } from '../../support/restore-executable.ts';

buildFor('aarch64');
await import('./operations.test.ts');
