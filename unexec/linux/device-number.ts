/**
 * Major and minor of a device number as stat(2) gives it (sys/sysmacros.h).
 *
 * @module
 */
export const majorOf = (device: bigint): bigint => ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);

export const minorOf = (device: bigint): bigint => (device & 0xffn) | ((device >> 12n) & ~0xffn);
