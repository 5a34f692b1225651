/**
 * The vdso of the second life. On the kernel that the process was frozen on, the kernel maps its own at
 * the old address. On another one its code and data could differ from what the process knows, so the
 * old one is put there with each function replaced by the system call that it would have saved.
 * Facts: vdso(7), arch/x86/entry/vdso of Linux 6.1 (functions and their weak names without `__vdso_`).
 *
 * @module
 */
import { readDynamicSymbols, readElf } from '../../../formats/elf/index.ts';
import { UnexecError } from '../../errors.ts';
import type { KernelIdentity, ProcessImage, Vdso } from '../../image.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import { LARGEST_RESULT, type Slot } from '../../restorer/steps.ts';
import { NR } from './system-calls.ts';

const ARCH_MAP_VDSO_64 = 0x2003;
const PROT_READ_EXEC = 5;
const MAP_PRIVATE_FIXED = 0x12;
/** struct utsname: six fields of 65 bytes; release, version and machine are the third to fifth. */
const UTSNAME = { size: 390, release: 130, compared: 195, field: 65 } as const;

/** Function of the vdso -> system call with the same arguments and result (x86-64). */
const CALLS: ReadonlyMap<string, number> = new Map([
  ['__vdso_clock_gettime', 228],
  ['__vdso_gettimeofday', 96],
  ['__vdso_time', 201],
  ['__vdso_getcpu', 309],
  ['__vdso_clock_getres', 229],
]);
/**
 * vgetrandom(buf, len, flags, state, state_len) answers -ENOSYS: its callers then make the system call
 * themselves, while getrandom(2) does not know how much state it would have wanted to be asked for.
 */
const UNAVAILABLE = new Set(['__vdso_getrandom', '__vdso_sgx_enter_enclave']);
const ENOSYS = -38;

/** The vdso's bytes with system calls in place of its functions. @throws UnexecError `VDSO_UNKNOWN` */
export function systemCallVdso(vdso: Vdso): Uint8Array {
  const bytes = vdso.bytes.slice();
  for (const symbol of readDynamicSymbols(readElf(vdso.bytes))) {
    if (symbol.value === 0n) continue;
    const name = symbol.name.startsWith('__vdso_') ? symbol.name : `__vdso_${symbol.name}`;
    const call = CALLS.get(name);
    const code = call === undefined ? (UNAVAILABLE.has(name) ? answer(ENOSYS) : undefined) : systemCall(call);
    if (code === undefined) continue;
    const offset = Number(symbol.value);
    if (offset + code.length > bytes.length) {
      throw new UnexecError('VDSO_UNKNOWN', `the vdso's symbol ${symbol.name} lies outside of it`);
    }
    bytes.set(code, offset);
  }
  return bytes;
}

/** mov eax, nr; syscall; ret */
const systemCall = (nr: number): Uint8Array =>
  Uint8Array.of(0xb8, nr & 0xff, nr >> 8, 0, 0, 0x0f, 0x05, 0xc3);

/** mov rax, value; ret */
const answer = (value: number): Uint8Array =>
  Uint8Array.of(0x48, 0xc7, 0xc0, value & 0xff, 0xff, 0xff, 0xff, 0xc3);

/**
 * The kernel's own vdso at the old address, where it is the same kernel and maps it there; else the one
 * that makes system calls.
 */
export function placeVdso(
  program: RestoreProgram,
  image: ProcessImage,
  fileOffset: number | undefined,
  useKernels: boolean,
  self: Slot,
): void {
  const { vdso } = image;
  if (vdso === undefined || fileOffset === undefined) return;
  const mapped = program.slot();
  program.operation('SET', 'no vdso yet', [0, 0, 1], { into: mapped });
  if (useKernels) {
    const found = program.writable(new Uint8Array(UTSNAME.size));
    const expected = program.data(kernelNames(image.origin.kernel));
    program.syscall('name of the kernel', NR.uname, [found]);
    program.when(
      'COMPARE',
      'same kernel',
      [{ ...found, offset: UTSNAME.release }, expected, UTSNAME.compared],
      () => {
        // Refused without CONFIG_CHECKPOINT_RESTORE.
        program.syscall('map the vdso', NR.arch_prctl, [ARCH_MAP_VDSO_64, vdso.vvarStart], {
          bestEffort: true,
          into: mapped,
        });
      },
    );
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
