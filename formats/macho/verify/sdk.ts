/**
 * With which SDK a file was built: dyld holds newer files to more rules ("enforcement epochs"). dyld-1378,
 * mach_o/Policy.cpp, Platform.cpp and UnsafeHeader.cpp (forEachPlatformLoadCommand).
 *
 * @module
 */
import { CPU_TYPE, PLATFORM } from '../constants.ts';
import { type BuildVersion, readBuildVersion } from '../image.ts';
import type { MachOFile } from '../model.ts';

/** What of a rule's epoch counts: the release of autumn, as a year; those of spring are half a year before. */
export const EPOCH = {
  /** macOS 10.11 */
  fall2015: 2015,
  /** macOS 10.14 */
  fall2018: 2018,
  /** macOS 10.15 */
  fall2019: 2019,
  /** macOS 11 */
  fall2020: 2020,
  /** macOS 12 */
  fall2021: 2021,
  /** macOS 15.4 */
  spring2025: 2024.5,
  /** macOS 26 */
  fall2025: 2025,
} as const;

/** From macOS 26 on, all systems have the number of the year after their release. */
const FIRST_OF_YEARS = 26;
/** The year in which version 1 would have appeared, less one: of systems with a version a year. */
const BASE_YEARS: ReadonlyMap<number, number> = new Map<number, number>([
  [PLATFORM.PLATFORM_MACOS, 2009],
  [PLATFORM.PLATFORM_IOS, 2006],
  [PLATFORM.PLATFORM_TVOS, 2006],
  [PLATFORM.PLATFORM_WATCHOS, 2013],
  [PLATFORM.PLATFORM_MACCATALYST, 2006],
]);
/** Without any command: "guess it is a macOS 10.5 binary", and for arm64 11.0 ("the Go linker …"). */
const GUESS_X86: BuildVersion = { platform: PLATFORM.PLATFORM_MACOS, minos: 0x0a_05_00, sdk: 0x0a_05_00 };
const GUESS_ARM: BuildVersion = { platform: PLATFORM.PLATFORM_MACOS, minos: 0x0b_00_00, sdk: 0x0b_00_00 };

/** The epoch by which dyld judges the file. */
export function epochOf(file: MachOFile): number {
  const guess = file.header.cputype === CPU_TYPE.CPU_TYPE_ARM64 ? GUESS_ARM : GUESS_X86;
  const { platform, minos, sdk } = readBuildVersion(file) ?? guess;
  return epochOfVersion(platform, sdk === 0 ? minos : sdk);
}

function epochOfVersion(platform: number, version: number): number {
  const major = version >>> 16;
  const minor = (version >>> 8) & 0xff;
  if (platform === PLATFORM.PLATFORM_MACOS && major === 10) return 2004 + minor;
  const base = major >= FIRST_OF_YEARS ? 1999 : BASE_YEARS.get(platform);
  // A system that is not known here is held to what always counts.
  if (base === undefined) return 0;
  const firstOfSpring = platform === PLATFORM.PLATFORM_MACOS && major <= 13 ? 3 : 4;
  return base + major + (minor >= firstOfSpring ? 0.5 : 0);
}
