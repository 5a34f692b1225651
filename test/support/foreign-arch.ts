/**
 * Runs executables of another architecture by qemu's user emulation, and those of this machine's directly.
 *
 * @module
 */
import type { Arch } from '../../unexec/image.ts';

const OWN = process.arch === 'arm64' ? 'aarch64' : 'x86_64';

/** Whether executables of an architecture run here by themselves, on a real kernel. */
export const runsHere = (arch: Arch): boolean => arch === OWN;

/**
 * Emulated programs have 64 GiB of addresses, as on a kernel with 36 bits of them: these are taken before qemu
 * starts the program, which may then unmap all of them without the emulator being among it.
 */
const RESERVED = ['-R', '0x1000000000'];

/** What comes before an executable in a command line that runs it; nothing where it runs by itself. */
export const runnerOf = (arch: Arch): readonly string[] =>
  runsHere(arch) ? [] : [`qemu-${arch}-static`, ...RESERVED];
