/**
 * Steps that make a socket without a peer again: options, name, backlog.
 * Facts: socket(7), unix(7), bind(2).
 *
 * @module
 */
import { viewOf } from '../../../formats/struct.ts';
import type { FileKind, Membership, OpenFile } from '../../image.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import { LARGEST_RESULT, type Slot } from '../../restorer/steps.ts';
import { place } from './opening.ts';
import { AT_FDCWD, NR, STAT } from './system-calls.ts';

const AF_UNIX = 1;
const SOCK_CLOEXEC = 0o2000000;
const SIOCGIFINDEX = 0x8933;
/** struct ifreq: ifr_name, ifr_ifindex. */
const IFREQ = { size: 40, index: 16 } as const;

type Socket = FileKind & { type: 'socket' };

export function socketSteps(program: RestoreProgram, file: OpenFile, what: Socket): void {
  const slot = program.slot();
  const name = `socket of descriptor ${file.descriptors[0]?.fd} (${addressText(what)})`;
  program.syscall(name, NR.socket, [what.domain, what.socketType | SOCK_CLOEXEC, what.protocol], {
    into: slot,
  });
  for (const option of what.options) {
    program.syscall(
      `option of the ${name}`,
      NR.setsockopt,
      [slot, option.level, option.name, program.data(option.value), option.value.length],
      { bestEffort: true },
    );
  }
  for (const membership of what.memberships) join(program, name, slot, membership);
  if (what.address.length > 0) bind(program, what, name, slot);
  if (what.backlog >= 0) program.syscall(`listen on the ${name}`, NR.listen, [slot, what.backlog]);
  place(program, file, slot);
}

/** Joins a multicast group, on the interface that has the name now. */
function join(program: RestoreProgram, name: string, slot: Slot, membership: Membership): void {
  const { level, name: option, value, group, interfaceName } = membership;
  const request = new Uint8Array(IFREQ.size);
  request.set(Buffer.from(interfaceName).subarray(0, IFREQ.index - 1));
  const ifreq = program.writable(request);
  const ref = program.writable(value);
  const index = program.slot();
  const where = `${group} on interface ${interfaceName}`;
  program.syscall(`the ${name}: join ${where}`, NR.ioctl, [slot, SIOCGIFINDEX, ifreq]);
  program.operation('LOAD32', 'number of the interface', [ifreq, IFREQ.index], { into: index });
  program.operation('STORE32', 'number of the interface', [ref, index]);
  program.syscall(`the ${name}: join ${where}`, NR.setsockopt, [slot, level, option, ref, value.length]);
}

/**
 * The name of a unix socket outlives its process: where it is in the way, it is removed as the server
 * itself would remove it. But it must be a socket, with the permissions of the one that was frozen.
 */
function bind(program: RestoreProgram, what: Socket, name: string, slot: Slot): void {
  const args = [slot, program.data(what.address), what.address.length];
  const path = unixPath(what);
  if (path === undefined || what.mode === undefined) {
    program.syscall(`bind the ${name}`, NR.bind, args);
    return;
  }
  const bound = program.slot();
  const mode = what.mode;
  const expected = new Uint8Array(4);
  viewOf(expected).setUint32(0, mode, true);
  program.syscall(`bind the ${name}`, NR.bind, args, { bestEffort: true, into: bound });
  program.unless('AT_MOST', 'bound', [bound, LARGEST_RESULT], () => {
    const fields = STAT[program.arch];
    const stat = program.writable(new Uint8Array(fields.size));
    const where = [AT_FDCWD, program.string(path)];
    program.syscall(`bind the ${name}: look at it`, NR.newfstatat, [...where, stat, 0]);
    program.operation('COMPARE', `bind the ${name}: there is something else by that name`, [
      { ...stat, offset: fields.st_mode },
      program.data(expected),
      4,
    ]);
    program.syscall(`remove ${path}`, NR.unlinkat, [...where, 0]);
    program.syscall(`bind the ${name}`, NR.bind, args);
  });
  program.syscall(`permissions of ${path}`, NR.fchmodat, [AT_FDCWD, program.string(path), mode & 0o7777], {
    bestEffort: true,
  });
}

/** The path of a unix socket that has one in the file system (not an abstract name). */
function unixPath({ domain, address }: { domain: number; address: Uint8Array }): string | undefined {
  if (domain !== AF_UNIX || address.length < 3 || address[2] === 0) return undefined;
  const end = address.indexOf(0, 2);
  return Buffer.from(address.subarray(2, end < 0 ? undefined : end)).toString();
}

function addressText(what: { domain: number; address: Uint8Array }): string {
  if (what.domain === AF_UNIX) return unixPath(what) ?? 'unix';
  const port = ((what.address[2] ?? 0) << 8) | (what.address[3] ?? 0);
  return port === 0 ? 'internet' : `port ${port}`;
}
