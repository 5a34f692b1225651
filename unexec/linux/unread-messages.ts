/**
 * The messages that wait at an end of a socket pair, read and left where they are.
 * Facts: recv(2) (MSG_PEEK, MSG_TRUNC), socket(7) (SO_PEEK_OFF), unix(7) (SIOCINQ).
 *
 * @module
 */
import { viewOf } from '../../formats/struct.ts';
import type { HeldFile } from './held-file.ts';
import { syscall } from './libc.ts';
import { unreadBytes } from './pipes.ts';
import { refuse } from './refusal.ts';
import { getOption } from './socket-options.ts';

const SOCK_STREAM = 1;
const SOL_SOCKET = 1;
const SO_PEEK_OFF = 42;
const MSG_PEEK = 0x2;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
/** net.core.wmem_max bounds a message for all but root; this is far above its usual value. */
const LARGEST_MESSAGE = 4 << 20;
const RCV_SHUTDOWN = 1;

/** One element for a stream that has any; each message of the other types, empty ones too. */
export function peekMessages(file: HeldFile, socketType: number, shutdown: number): Uint8Array[] {
  const waiting = unreadBytes(file);
  const before = getOption(file.own, SOL_SOCKET, SO_PEEK_OFF, 4) ?? peekOffset(-1);
  setPeekOffset(file, peekOffset(0));
  try {
    return socketType === SOCK_STREAM
      ? peekStream(file, waiting)
      : peekAll(file, (shutdown & RCV_SHUTDOWN) !== 0 ? waiting : Number.POSITIVE_INFINITY);
  } finally {
    setPeekOffset(file, before);
  }
}

function peekStream(file: HeldFile, waiting: number): Uint8Array[] {
  const bytes = new Uint8Array(waiting);
  let done = 0;
  while (done < waiting) {
    const read = peek(file, bytes.subarray(done));
    if (read <= 0) break;
    done += read;
  }
  if (done < waiting) {
    refuse(file, 'FD_SOCKET_DATA', `a socket with ${waiting} unread bytes, of which ${done} can be copied`);
  }
  return waiting > 0 ? [bytes] : [];
}

/** Of a socket that was shut down, an empty message is its end once all its bytes were seen. */
function peekAll(file: HeldFile, bytesUntilEnd: number): Uint8Array[] {
  const buffer = new Uint8Array(LARGEST_MESSAGE);
  const messages: Uint8Array[] = [];
  for (let seen = 0; ; ) {
    const read = peek(file, buffer);
    if (read < 0 || (read === 0 && seen >= bytesUntilEnd)) return messages;
    if (read > buffer.length) {
      refuse(file, 'FD_SOCKET_DATA', `a socket with an unread message of ${read} bytes`);
    }
    seen += read;
    messages.push(buffer.slice(0, read));
  }
}

const peek = (file: HeldFile, into: Uint8Array): number =>
  syscall('recvfrom', file.own, into, into.length, MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC, 0, 0);

function peekOffset(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  viewOf(bytes).setInt32(0, value, true);
  return bytes;
}

const setPeekOffset = (file: HeldFile, offset: Uint8Array): void => {
  syscall('setsockopt', file.own, SOL_SOCKET, SO_PEEK_OFF, offset, 4);
};
