/**
 * unexec as a library.
 *
 * ```ts
 * import { freeze, UnexecError } from 'unexec';
 *
 * try {
 *   const report = await freeze('perl', './report', { args: ['report.pl'], at: 'stop' });
 *   console.log(`${report.target}: ${report.storedBytes} bytes`);
 * } catch (error) {
 *   if (!(error instanceof UnexecError)) throw error;
 *   for (const { what, remedy } of error.reasons) console.error(`${what}: ${remedy}`);
 * }
 * ```
 *
 * To run a program and freeze it takes Linux on x86-64, or for `freeze` and `dumpCore` on aarch64. They, `freezeLibrary`
 * and `restart` trace with ptrace(2), which belongs
 * to a thread: call them on the main thread, one at a time. `prepare`, `verifyFile` and `restart` of a core work
 * anywhere.
 *
 * @module
 */
export { FormatError } from '../formats/errors.ts';
export type { Finding, Severity } from '../formats/finding.ts';
export { CPU_LEVELS, type CpuLevel } from './cpu-features.ts';
export type * from './diff/model.ts';
export { type DiffOptions, type DiffSource, diff } from './diff.ts';
export { type CoreOptions, type CoreReport, dumpCore } from './dump-core.ts';
export { type Reason, UnexecError, type UnexecErrorFacts } from './errors.ts';
export {
  type FreezeOptions,
  type FreezePhase,
  type FreezeReport,
  freeze,
  type Training,
} from './freeze.ts';
export { FREEZE_POINT_HELP, type FreezePoint, freezePointText, parseFreezePoint } from './freeze-point.ts';
export type { Assumption } from './image.ts';
export { followAddress } from './inspect/address.ts';
export type * from './inspect/model.ts';
export { type FindSecretsOptions, findSecrets } from './inspect/secrets.ts';
export { type InspectOptions, inspectFile } from './inspect.ts';
export type { Manifest, ManifestRegion } from './manifest.ts';
export { type PrepareOptions, type PrepareReport, prepare } from './prepare.ts';
export { readManifest } from './read-manifest.ts';
export { type RestartOptions, type RestartReport, restart } from './restart.ts';
export type { DataRef, LabelRef, Slot, Step, StepArgument } from './restorer/steps.ts';
export { freezeLibrary, type SharedOptions, type SharedReport } from './shared.ts';
export type { FrozenFrom, RunningProcess } from './sources/source.ts';
export type { KernelFeatures } from './styles/resume/plan.ts';
export { type FileFinding, type VerifiedFile, verifyFile } from './verify-file.ts';
export { VERSION } from './version.ts';
