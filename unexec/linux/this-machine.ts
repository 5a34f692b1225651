/**
 * The architecture that we run on. Where processes are not traced at all, it does not matter.
 *
 * @module
 */
import type { Arch } from '../machine-state.ts';

export const ARCH: Arch = process.arch === 'arm64' ? 'aarch64' : 'x86_64';
