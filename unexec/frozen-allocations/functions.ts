/**
 * The functions of allocators that take a block, by their names as libraries import them: those that a frozen
 * library calls through the stubs of x86_64.S. The order is that of the stubs.
 *
 * @module
 */
export const ALLOCATION_FUNCTIONS: readonly string[] = [
  'free',
  'cfree',
  '__libc_free',
  'free_sized',
  'free_aligned_sized',
  // operator delete and delete[]: plain, sized, aligned, both, and with std::nothrow.
  '_ZdlPv',
  '_ZdaPv',
  '_ZdlPvm',
  '_ZdaPvm',
  '_ZdlPvSt11align_val_t',
  '_ZdaPvSt11align_val_t',
  '_ZdlPvmSt11align_val_t',
  '_ZdaPvmSt11align_val_t',
  '_ZdlPvRKSt9nothrow_t',
  '_ZdaPvRKSt9nothrow_t',
  '_ZdlPvSt11align_val_tRKSt9nothrow_t',
  '_ZdaPvSt11align_val_tRKSt9nothrow_t',
  'realloc',
  'reallocarray',
  'malloc_usable_size',
];

const STUB_SIZE = 64;
const RESOLVER = 48;

/** Where the code of function `number` begins, and its resolver; bytes from the code's start. */
export const stubOffset = (number: number): number => STUB_SIZE * number;
export const resolverOffset = (number: number): number => STUB_SIZE * number + RESOLVER;

/** What the initialiser's entry jumps to. */
export const AGAIN_OFFSET: number = stubOffset(ALLOCATION_FUNCTIONS.length);

/** From the code's first byte to its table. */
export const TABLE_DISTANCE = 0x1000;

/** The words of the table, bytes from its start. */
export const TABLE = {
  size: 0,
  returned: 8,
  functions: 16,
} as const;

/** Bytes. The blocks come behind it. */
export const TABLE_SIZE: number = TABLE.functions + 8 * ALLOCATION_FUNCTIONS.length;
