/**
 * The vdso of the second life. On the kernel that the process was frozen on, it is that kernel's own, at
 * the old address. On another one its code and data could differ from what the process knows, so the
 * old one is put there with each function replaced by the system call that it would have saved.
 * Facts: vdso(7), uname(2), arch_prctl(2).
 *
 * @module
 */
import { readDynamicSymbols, readElf } from '../../../formats/elf/index.ts';
import { UnexecError } from '../../errors.ts';
import type { Arch, KernelIdentity, ProcessImage, Vdso } from '../../image.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import { LARGEST_RESULT, type Slot } from '../../restorer/steps.ts';
import { NR } from './system-calls.ts';
import { armReplacement, type ParkedVdso, parkVdso, settleVdso } from './vdso/aarch64.ts';
import { x86Replacement } from './vdso/x86_64.ts';
import type { Window } from './window.ts';

const ARCH_MAP_VDSO_64 = 0x2003;
const PROT_READ_EXEC = 5;
const MAP_PRIVATE_FIXED = 0x12;
/** struct utsname: six fields of 65 bytes; release, version and machine are the third to fifth. */
const UTSNAME = { size: 390, release: 130, compared: 195, field: 65 } as const;

/** What stands in the place of a function; undefined for what is none, or makes a system call anyway. */
const REPLACEMENTS: Readonly<Record<Arch, (name: string) => Uint8Array | undefined>> = {
  x86_64: x86Replacement,
  aarch64: armReplacement,
};

/** The vdso's bytes with system calls in place of its functions. @throws UnexecError `VDSO_UNKNOWN` */
export function systemCallVdso(vdso: Vdso, arch: Arch): Uint8Array {
  const bytes = vdso.bytes.slice();
  for (const symbol of readDynamicSymbols(readElf(vdso.bytes))) {
    if (symbol.value === 0n) continue;
    const code = REPLACEMENTS[arch](symbol.name);
    if (code === undefined) continue;
    const offset = Number(symbol.value);
    if (offset + code.length > bytes.length) {
      throw new UnexecError('VDSO_UNKNOWN', `the vdso's symbol ${symbol.name} lies outside of it`);
    }
    bytes.set(code, offset);
  }
  return bytes;
}

/** What is to be known of the new process's vdso before everything is unmapped. */
export interface NewVdso {
  /** An error where this is another kernel than the one that the process was frozen on. */
  readonly sameKernel: Slot;
  /** Of aarch64, where it cannot be asked for later. */
  readonly parked: ParkedVdso | undefined;
}

/** To come before everything is unmapped. */
export function keepVdso(
  program: RestoreProgram,
  image: ProcessImage,
  window: Window,
  useKernels: boolean,
): NewVdso {
  const sameKernel = program.slot();
  program.operation('SET', 'another kernel', [0, 0, 1], { into: sameKernel });
  if (useKernels && image.vdso !== undefined) {
    const found = program.writable(new Uint8Array(UTSNAME.size));
    const expected = program.data(kernelNames(image.origin.kernel));
    program.syscall('name of the kernel', NR.uname, [found]);
    program.when(
      'COMPARE',
      'same kernel',
      [{ ...found, offset: UTSNAME.release }, expected, UTSNAME.compared],
      () => program.operation('SET', 'same kernel', [0, 0, 0], { into: sameKernel }),
    );
  }
  const parked = image.arch === 'aarch64' ? parkVdso(program, image, window, sameKernel) : undefined;
  return { sameKernel, parked };
}

/**
 * The kernel's own vdso at the old address, where it is the same kernel and maps it there; else the one
 * that makes system calls.
 */
export function placeVdso(
  program: RestoreProgram,
  image: ProcessImage,
  window: Window,
  fileOffset: number | undefined,
  { sameKernel, parked, stays }: NewVdso & { readonly stays: Slot },
  self: Slot,
): void {
  const { vdso } = image;
  if (vdso === undefined || fileOffset === undefined) return;
  const mapped = program.slot();
  program.operation('SET', 'no vdso yet', [0, 0, 1], { into: mapped });
  if (parked !== undefined) {
    settleVdso(program, image, window, parked, mapped);
  } else {
    program.when('AT_MOST', 'same kernel', [sameKernel, LARGEST_RESULT], () => {
      // Refused without CONFIG_CHECKPOINT_RESTORE.
      program.syscall('map the vdso', NR.arch_prctl, [ARCH_MAP_VDSO_64, vdso.vvarStart], {
        bestEffort: true,
        into: mapped,
      });
      // Refused while there is a vdso, too: without randomised addresses it is where the old one was.
      program.when('AT_MOST', 'the vdso that stays is not below', [vdso.start, stays], () =>
        program.when('AT_MOST', 'nor above', [stays, vdso.start], () =>
          program.operation('SET', 'it is the vdso', [0, 0, 0], { into: mapped }),
        ),
      );
    });
  }
  program.unless('AT_MOST', 'vdso mapped', [mapped, LARGEST_RESULT], () => {
    program.syscall('map the system-call vdso', NR.mmap, [
      vdso.start,
      vdso.size,
      PROT_READ_EXEC,
      MAP_PRIVATE_FIXED,
      self,
      fileOffset,
    ]);
  });
}

/** release, version and machine as uname(2) stores them. */
function kernelNames({ release, version, machine }: KernelIdentity): Uint8Array {
  const names = new Uint8Array(UTSNAME.compared);
  for (const [i, text] of [release, version, machine].entries()) {
    names.set(Buffer.from(text).subarray(0, UTSNAME.field - 1), i * UTSNAME.field);
  }
  return names;
}
