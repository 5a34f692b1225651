/**
 * What sock_diag(7) tells about a unix socket: its peer, which directions are shut down, how many may wait.
 * Facts: linux/unix_diag.h, linux/netlink.h of Linux 6.1.
 *
 * @module
 */
import { closeSync, writeSync } from 'node:fs';
import { syscall } from './libc.ts';
import { O } from './open-flags.ts';

const AF_UNIX = 1;
const AF_NETLINK = 16;
const SOCK_RAW = 3;
const NETLINK_SOCK_DIAG = 4;
const SOCK_DIAG_BY_FAMILY = 20;
const NLM_F_REQUEST = 1;
const UDIAG_SHOW_PEER = 4;
const UDIAG_SHOW_RQLEN = 16;
const UNIX_DIAG_PEER = 2;
const UNIX_DIAG_RQLEN = 4;
const UNIX_DIAG_SHUTDOWN = 6;
/** struct nlmsghdr, struct unix_diag_req and struct unix_diag_msg. */
const HEADER_SIZE = 16;
const REQUEST_SIZE = 24;
const MESSAGE_SIZE = 16;
const TCP_LISTEN = 10;

export interface UnixSocket {
  /** Inode of the peer: 0 when it is closed, or not accepted yet; undefined when there is none. */
  readonly peer: bigint | undefined;
  /** RCV_SHUTDOWN (1), SEND_SHUTDOWN (2). */
  readonly shutdown: number;
  /** Of a listening socket: how many connections may wait. */
  readonly backlog: number | undefined;
}

/** Looks up a unix socket by its inode; undefined where the kernel does not tell. */
export function unixSocket(inode: bigint): UnixSocket | undefined {
  const socket = syscall('socket', AF_NETLINK, SOCK_RAW | O.CLOEXEC, NETLINK_SOCK_DIAG);
  if (socket < 0) return undefined;
  try {
    writeSync(socket, request(inode));
    const reply = new Uint8Array(8192);
    const length = syscall('recvfrom', socket, reply, reply.length, 0, 0, 0);
    return length > 0 ? parse(new DataView(reply.buffer, 0, length)) : undefined;
  } finally {
    closeSync(socket);
  }
}

function request(inode: bigint): Uint8Array {
  const bytes = new Uint8Array(HEADER_SIZE + REQUEST_SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint16(4, SOCK_DIAG_BY_FAMILY, true);
  view.setUint16(6, NLM_F_REQUEST, true);
  bytes[16] = AF_UNIX;
  view.setUint32(20, 0xffff_ffff, true); // udiag_states: all
  view.setUint32(24, Number(inode), true);
  view.setUint32(28, UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN, true);
  view.setUint32(32, 0xffff_ffff, true); // udiag_cookie: none
  view.setUint32(36, 0xffff_ffff, true);
  return bytes;
}

function parse(reply: DataView): UnixSocket | undefined {
  const attributes = HEADER_SIZE + MESSAGE_SIZE;
  if (reply.byteLength < attributes || reply.getUint16(4, true) !== SOCK_DIAG_BY_FAMILY) return undefined;
  const state = reply.getUint8(HEADER_SIZE + 2);
  let peer: bigint | undefined;
  let shutdown = 0;
  let backlog: number | undefined;
  for (let at = attributes; at + 5 <= reply.byteLength; ) {
    const length = reply.getUint16(at, true);
    const type = reply.getUint16(at + 2, true);
    if (type === UNIX_DIAG_PEER && length >= 8) peer = BigInt(reply.getUint32(at + 4, true));
    if (type === UNIX_DIAG_SHUTDOWN) shutdown = reply.getUint8(at + 4);
    // struct unix_diag_rqlen; of a socket that does not listen, the second word counts bytes.
    if (type === UNIX_DIAG_RQLEN && length >= 12 && state === TCP_LISTEN)
      backlog = reply.getUint32(at + 8, true);
    if (length < 4) break;
    at += (length + 3) & ~3;
  }
  return { peer, shutdown, backlog };
}
