/**
 * What a library calls in place of malloc while it is initialised, for x86-64, assembled from x86_64.S by
 * `npm run stubs`; a test compares the two.
 *
 * @module
 */
import { Buffer } from 'node:buffer';

// biome-ignore format: written by a program
const HEX = [
  'f30f1efa4889febf01000000ff25ae0000000000000000000000000000000000f30f1efa4885ff745c4885f6745f5341',
  '5441554889fb4989f4bf01000000ff157c0000004885c074364989c5488b4bf8488d51f883e102c1e1024883e2f84829',
  'ca4c39e2490f47d44889d14c89ef4889def3a44889dfff154c0000004c89e8415d415c5bc34889f7e973ffffff56ff15',
  '3400000058c3000000000000000000000000000000000000000000000000000000000000000000000000000000000000',
].join('');

export const ZEROED_X86_64: Uint8Array = new Uint8Array(Buffer.from(HEX, 'hex'));
