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
import type { Vdso } from '../../image.ts';

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
