/**
 * Steps that make a socket without a peer again: options, name, backlog.
 *
 * @module
 */
import type { FileKind, OpenFile } from '../../image.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import type { Slot } from '../../restorer/steps.ts';
import { NR } from './system-calls.ts';

const AF_UNIX = 1;
const SOCK_CLOEXEC = 0o2000000;

export function socketSteps(
  program: RestoreProgram,
  file: OpenFile,
  what: FileKind & { type: 'socket' },
  place: (slot: Slot) => void,
): void {
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
  if (what.address.length > 0) {
    const path = unixPath(what);
    // The name of a unix socket outlives its process; the server would remove it, and so do we.
    if (path !== undefined)
      program.syscall(`remove ${path}`, NR.unlink, [program.string(path)], { bestEffort: true });
    program.syscall(`bind the ${name}`, NR.bind, [slot, program.data(what.address), what.address.length]);
  }
  if (what.backlog >= 0) program.syscall(`listen on the ${name}`, NR.listen, [slot, what.backlog]);
  place(slot);
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
