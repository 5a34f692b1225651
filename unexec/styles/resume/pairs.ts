/**
 * Pipes and socket pairs with both ends inside the process: made once, each end placed at its own
 * descriptors, with what waited to be read written back in.
 *
 * @module
 */
import { UnexecError } from '../../errors.ts';
import type { OpenFile, ProcessImage } from '../../image.ts';
import { O } from '../../linux/open-flags.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import type { Slot } from '../../restorer/steps.ts';
import { NR } from './system-calls.ts';

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const F_SETPIPE_SZ = 1031;
const MSG_DONTWAIT = 0x40;

export interface Pairs {
  /** The slot that holds the end of a pipe or socket pair. */
  endOf(file: OpenFile): Slot;
  /** A socket whose peer is gone. */
  hungUp(program: RestoreProgram, file: OpenFile): Slot;
}

interface Ends {
  readonly first: Slot;
  readonly second: Slot;
}

/** Makes all pairs; ends without an owner (the other side hung up) are closed at once. */
export function pairSteps(program: RestoreProgram, image: ProcessImage): Pairs {
  const ends = new Map<OpenFile, Slot>();
  for (const files of groups(image.files)) {
    const [file] = files;
    if (file === undefined) continue;
    const made = file.what.type === 'pipe' ? makePipe(program, files) : makeSocketPair(program, files);
    for (const end of [0, 1] as const) {
      const slot = end === 0 ? made.first : made.second;
      const owners = files.filter(candidate => endIndex(candidate) === end);
      const [owner] = owners;
      if (owner === undefined) program.syscall('hang up', NR.close, [slot]);
      else ends.set(owner, slot);
    }
  }
  return {
    endOf(file) {
      const slot = ends.get(file);
      if (slot === undefined) {
        throw new UnexecError(
          'FD_SHARED_END',
          `descriptor ${file.descriptors[0]?.fd}: one end of a pipe is open twice`,
          {
            hint: 'leave one of them out with --drop-fd',
          },
        );
      }
      return slot;
    },
    hungUp(builder, file) {
      const { first, second } = newPair(
        builder,
        `socket of descriptor ${file.descriptors[0]?.fd}`,
        NR.socketpair,
        [AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0],
      );
      builder.syscall('hang up', NR.close, [second]);
      return first;
    },
  };
}

function groups(files: readonly OpenFile[]): OpenFile[][] {
  const byId = new Map<string, OpenFile[]>();
  for (const file of files) {
    if (file.what.type !== 'pipe' && file.what.type !== 'socketpair') continue;
    const key = `${file.what.type} ${file.what.id}`;
    byId.set(key, [...(byId.get(key) ?? []), file]);
  }
  return [...byId.values()];
}

function endIndex({ what }: OpenFile): 0 | 1 | undefined {
  if (what.type === 'pipe') return what.end === 'read' ? 0 : 1;
  return what.type === 'socketpair' ? what.end : undefined;
}

function makePipe(program: RestoreProgram, files: readonly OpenFile[]): Ends {
  const reader = files.find(file => file.what.type === 'pipe' && file.what.end === 'read');
  const capacity = Math.max(...files.map(({ what }) => (what.type === 'pipe' ? what.capacity : 0)));
  const unread = reader?.what.type === 'pipe' ? reader.what.unread : new Uint8Array();
  const made = newPair(program, `pipe of descriptors ${numbers(files)}`, NR.pipe2, [], [O.CLOEXEC]);
  program.syscall('capacity of the pipe', NR.fcntl, [made.second, F_SETPIPE_SZ, capacity], {
    bestEffort: true,
  });
  if (unread.length > 0) {
    program.syscall('unread bytes of the pipe', NR.write, [made.second, program.data(unread), unread.length]);
  }
  return made;
}

function makeSocketPair(program: RestoreProgram, files: readonly OpenFile[]): Ends {
  const type = files[0]?.what.type === 'socketpair' ? files[0].what.socketType : SOCK_STREAM;
  const made = newPair(program, `socket pair of descriptors ${numbers(files)}`, NR.socketpair, [
    AF_UNIX,
    type | SOCK_CLOEXEC,
    0,
  ]);
  for (const { what } of files) {
    if (what.type !== 'socketpair') continue;
    const writer = what.end === 0 ? made.second : made.first;
    for (const message of what.unread) {
      program.syscall('unread bytes of the socket', NR.sendto, [
        writer,
        program.data(message),
        message.length,
        MSG_DONTWAIT,
        0,
        0,
      ]);
    }
  }
  return made;
}

const numbers = (files: readonly OpenFile[]): string =>
  files.flatMap(file => file.descriptors.map(({ fd }) => fd)).join(', ');

/** A call that stores two descriptors, 32 bits each, between `before` and `after` of its arguments. */
function newPair(
  program: RestoreProgram,
  name: string,
  nr: number,
  before: readonly number[],
  after: readonly number[] = [],
): Ends {
  const buffer = program.data(new Uint8Array(8));
  const made = { first: program.slot(), second: program.slot() };
  program.syscall(name, nr, [...before, buffer, ...after]);
  program.operation('LOAD32', name, [buffer, 0], { into: made.first });
  program.operation('LOAD32', name, [buffer, 4], { into: made.second });
  return made;
}
