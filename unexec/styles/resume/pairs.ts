/**
 * Pipes and socket pairs with both ends inside the process: made once, each end placed at its own
 * descriptors, with what waited to be read written back in. Ends that nobody has are closed.
 * Facts: pipe(7), unix(7), shutdown(2).
 *
 * @module
 */
import { viewOf } from '../../../formats/struct.ts';
import type { FileKind, OpenFile, ProcessImage } from '../../image.ts';
import { O, OPEN_FLAGS } from '../../linux/open-flags.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import type { Slot } from '../../restorer/steps.ts';
import { copyTo, openAgain, place } from './opening.ts';
import { NR, type SystemCall } from './system-calls.ts';

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const F_SETPIPE_SZ = 1031;
const FIONBIO = 0x5421;
const MSG_DONTWAIT = 0x40;
/** Every pipe and socket has room for this. */
const SURE_ROOM = 4096;
/** A stream is written back in pieces of this size; more than one wants a larger send buffer. */
const PIECE = 32768;

type Pipe = FileKind & { type: 'pipe' };
type SocketEnd = FileKind & { type: 'socketpair' };

export interface Pairs {
  /** Gives an end to the descriptors of a file. */
  place(program: RestoreProgram, file: OpenFile): void;
  /** A socket whose peer is gone. */
  hungUp(program: RestoreProgram, file: OpenFile): Slot;
  /** Closes what was only needed on the way: then ends without an owner are hung up. */
  finish(program: RestoreProgram): void;
}

interface Ends {
  readonly first: Slot;
  readonly second: Slot;
}

/** Makes all pairs. */
export function pairSteps(program: RestoreProgram, image: ProcessImage): Pairs {
  const made = new Map<string, Ends>();
  const taken = new Set<Slot>();
  for (const [key, files] of groups(image.files)) {
    made.set(key, files[0]?.what.type === 'pipe' ? makePipe(program, files) : makeSocketPair(program, files));
  }
  return {
    place(builder, file) {
      const ends = made.get(keyOf(file) ?? '');
      if (ends === undefined) return;
      const slot = endIndex(file) === 0 ? ends.first : ends.second;
      // A pipe may have been opened again by its /proc/self/fd: then an end has several descriptions.
      if (taken.has(slot) || isReadWritePipe(file)) {
        place(builder, file, openAgain(builder, file, slot, 'pipe'));
      } else {
        taken.add(slot);
        copyTo(builder, file, slot);
      }
    },
    hungUp(builder, file) {
      const name = `socket of descriptor ${file.descriptors[0]?.fd}`;
      const { first, second } = newPair(builder, name, NR.socketpair, [
        AF_UNIX,
        SOCK_STREAM | SOCK_CLOEXEC,
        0,
      ]);
      builder.syscall('hang up', NR.close, [second]);
      return first;
    },
    finish(builder) {
      for (const { first, second } of made.values()) {
        builder.syscall('close the copy', NR.close, [first]);
        builder.syscall('close the copy', NR.close, [second]);
      }
    },
  };
}

function groups(files: readonly OpenFile[]): Map<string, OpenFile[]> {
  const byKey = new Map<string, OpenFile[]>();
  for (const file of files) {
    const key = keyOf(file);
    if (key !== undefined) byKey.set(key, [...(byKey.get(key) ?? []), file]);
  }
  return byKey;
}

const keyOf = ({ what }: OpenFile): string | undefined =>
  what.type === 'pipe' || what.type === 'socketpair' ? `${what.type} ${what.id}` : undefined;

function endIndex({ what }: OpenFile): 0 | 1 {
  if (what.type === 'socketpair') return what.end;
  return what.type === 'pipe' && what.end === 'write' ? 1 : 0;
}

const isReadWritePipe = ({ what, flags }: OpenFile): boolean =>
  what.type === 'pipe' && (flags & O.ACCMODE) === O.RDWR;

function makePipe(program: RestoreProgram, files: readonly OpenFile[]): Ends {
  const pipes = files.flatMap(({ what }): Pipe[] => (what.type === 'pipe' ? [what] : []));
  const unread = pipes.find(pipe => pipe.unread.length > 0)?.unread ?? new Uint8Array();
  const { DIRECT } = OPEN_FLAGS[program.arch];
  const packets = files.some(({ flags }) => (flags & DIRECT) !== 0) ? DIRECT : 0;
  const flags = O.CLOEXEC | packets | (unread.length > SURE_ROOM ? O.NONBLOCK : 0);
  const name = `pipe of descriptors ${numbers(files)}`;
  const ends = newPair(program, name, NR.pipe2, [], [flags]);
  const capacity = Math.max(...pipes.map(pipe => pipe.capacity));
  program.syscall(`capacity of the ${name}`, NR.fcntl, [ends.second, F_SETPIPE_SZ, capacity], {
    bestEffort: true,
  });
  if (unread.length > 0) {
    writeAll(program, `unread bytes of the ${name}`, NR.write, [ends.second], unread);
  }
  if ((flags & O.NONBLOCK) !== 0) {
    const off = program.data(new Uint8Array(4));
    program.syscall('blocking', NR.ioctl, [ends.first, FIONBIO, off]);
    program.syscall('blocking', NR.ioctl, [ends.second, FIONBIO, off]);
  }
  return ends;
}

function makeSocketPair(program: RestoreProgram, files: readonly OpenFile[]): Ends {
  const sockets = files.flatMap(({ what }): SocketEnd[] => (what.type === 'socketpair' ? [what] : []));
  const type = sockets[0]?.socketType ?? SOCK_STREAM;
  const name = `socket pair of descriptors ${numbers(files)}`;
  const ends = newPair(program, name, NR.socketpair, [AF_UNIX, type | SOCK_CLOEXEC, 0]);
  const slotOf = (end: 0 | 1): Slot => (end === 0 ? ends.first : ends.second);
  for (const socket of sockets) setOptions(program, name, slotOf(socket.end), socket);
  for (const socket of sockets) {
    const writer = slotOf(socket.end === 0 ? 1 : 0);
    sendUnread(program, name, writer, socket);
  }
  for (const socket of sockets) {
    const { shutdown, end } = socket;
    for (const option of socket.options)
      if (isSendBuffer(option)) setOption(program, name, slotOf(end), option);
    // RCV_SHUTDOWN and SEND_SHUTDOWN are SHUT_RD + 1 and SHUT_WR + 1, and both are SHUT_RDWR + 1.
    const hungUp = sockets.length === 1;
    if (shutdown !== 0 && !hungUp)
      program.syscall(`shut down the ${name}`, NR.shutdown, [slotOf(end), shutdown - 1]);
  }
  return ends;
}

type Option = SocketEnd['options'][number];

const isSendBuffer = ({ level, name }: Option): boolean => level === SOL_SOCKET && name === SO_SNDBUF;

function setOptions(program: RestoreProgram, name: string, slot: Slot, { options }: SocketEnd): void {
  for (const option of options) if (!isSendBuffer(option)) setOption(program, name, slot, option);
}

function setOption(
  program: RestoreProgram,
  name: string,
  slot: Slot,
  { level, name: option, value }: Option,
): void {
  const args = [slot, level, option, program.data(value), value.length];
  program.syscall(`option of the ${name}`, NR.setsockopt, args, { bestEffort: true });
}

function sendUnread(program: RestoreProgram, name: string, writer: Slot, socket: SocketEnd): void {
  const total = socket.unread.reduce((sum, { length }) => sum + length, 0);
  if (total > PIECE) {
    // The program may have filled it with pieces that fit better than ours.
    const value = new Uint8Array(4);
    viewOf(value).setInt32(0, 2 * total, true);
    setOption(program, name, writer, { level: SOL_SOCKET, name: SO_SNDBUF, value });
  }
  const messages =
    socket.socketType === SOCK_STREAM ? socket.unread.flatMap(bytes => pieces(bytes)) : socket.unread;
  for (const message of messages) {
    writeAll(program, `unread bytes of the ${name}`, NR.sendto, [writer], message, [MSG_DONTWAIT, 0, 0]);
  }
}

const pieces = (bytes: Uint8Array): Uint8Array[] =>
  Array.from({ length: Math.ceil(bytes.length / PIECE) }, (_, i) =>
    bytes.subarray(i * PIECE, (i + 1) * PIECE),
  );

/** A write that must take all bytes at once. */
function writeAll(
  program: RestoreProgram,
  name: string,
  nr: SystemCall,
  before: readonly Slot[],
  bytes: Uint8Array,
  after: readonly number[] = [],
): void {
  const written = program.slot();
  program.syscall(name, nr, [...before, program.data(bytes), bytes.length, ...after], { into: written });
  program.operation('AT_MOST', `${name} do not all fit`, [bytes.length, written]);
}

const numbers = (files: readonly OpenFile[]): string =>
  files.flatMap(file => file.descriptors.map(({ fd }) => fd)).join(', ');

/** A call that stores two descriptors, 32 bits each, between `before` and `after` of its arguments. */
function newPair(
  program: RestoreProgram,
  name: string,
  nr: SystemCall,
  before: readonly number[],
  after: readonly number[] = [],
): Ends {
  const buffer = program.writable(new Uint8Array(8));
  const made = { first: program.slot(), second: program.slot() };
  program.syscall(name, nr, [...before, buffer, ...after]);
  program.operation('LOAD32', name, [buffer, 0], { into: made.first });
  program.operation('LOAD32', name, [buffer, 4], { into: made.second });
  return made;
}
