/**
 * What stands in the place of the functions of x86-64's vdso.
 * Facts: arch/x86/entry/vdso of Linux 6.1 (functions and their weak names without `__vdso_`).
 *
 * @module
 */

/** Function of the vdso -> number of the system call with the same arguments and result. */
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

export function x86Replacement(symbol: string): Uint8Array | undefined {
  const name = symbol.startsWith('__vdso_') ? symbol : `__vdso_${symbol}`;
  const call = CALLS.get(name);
  if (call !== undefined) return systemCall(call);
  return UNAVAILABLE.has(name) ? answer(ENOSYS) : undefined;
}

/** mov eax, nr; syscall; ret */
const systemCall = (nr: number): Uint8Array =>
  Uint8Array.of(0xb8, nr & 0xff, nr >> 8, 0, 0, 0x0f, 0x05, 0xc3);

/** mov rax, value; ret */
const answer = (value: number): Uint8Array =>
  Uint8Array.of(0x48, 0xc7, 0xc0, value & 0xff, 0xff, 0xff, 0xff, 0xc3);
