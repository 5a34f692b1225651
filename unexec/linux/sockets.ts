/**
 * Sockets of a traced process: pairs inside it, listening and unconnected ones. Facts: socket(7),
 * unix(7), tcp(7), sock_diag(7), linux/unix_diag.h, asm-generic/socket.h of Linux 6.1.
 *
 * @module
 */
import { closeSync, writeSync } from 'node:fs';
import type { FileKind, SocketOption } from '../image.ts';
import type { HeldFile } from './held-file.ts';
import { ioctl, syscall } from './libc.ts';

export const AF = { UNIX: 1, INET: 2, INET6: 10, NETLINK: 16 } as const;
const SOCK = { STREAM: 1, DGRAM: 2, RAW: 3, SEQPACKET: 5 } as const;
const SOL_SOCKET = 1;
const SO = {
  REUSEADDR: 2,
  TYPE: 3,
  BROADCAST: 6,
  KEEPALIVE: 9,
  REUSEPORT: 15,
  PASSCRED: 16,
  ACCEPTCONN: 30,
  PROTOCOL: 38,
  DOMAIN: 39,
  PEEK_OFF: 42,
} as const;
const IPPROTO = { TCP: 6, IPV6: 41 } as const;
const TCP_NODELAY = 1;
const TCP_INFO = 11;
const IPV6_V6ONLY = 26;
const MSG_PEEK_DONTWAIT = 0x2 | 0x40;
const SIOCINQ = 0x541b;
/** Kernels cap it at net.core.somaxconn (4096); the real one of a unix socket is not told. */
const UNIX_BACKLOG = 4096;

const NETLINK_SOCK_DIAG = 4;
const SOCK_DIAG_BY_FAMILY = 20;
const UDIAG_SHOW_PEER = 4;
const UNIX_DIAG_PEER = 2;

export interface SocketFacts {
  readonly domain: number;
  readonly socketType: number;
  readonly protocol: number;
  readonly listening: boolean;
  /** `struct sockaddr` as bound; two bytes (the family) when a unix socket has no name. */
  readonly address: Uint8Array;
  readonly connected: boolean;
}

export function socketFacts(file: HeldFile): SocketFacts {
  const length = new Uint8Array([128, 0, 0, 0]);
  const buffer = new Uint8Array(128);
  const peerName = syscall('getpeername', file.own, buffer, length);
  length[0] = 128;
  buffer.fill(0);
  const named = syscall('getsockname', file.own, buffer, length);
  return {
    domain: getOption(file.own, SO.DOMAIN),
    socketType: getOption(file.own, SO.TYPE),
    protocol: getOption(file.own, SO.PROTOCOL),
    listening: getOption(file.own, SO.ACCEPTCONN) !== 0,
    address: named < 0 ? new Uint8Array() : buffer.slice(0, length[0] ?? 0),
    connected: peerName >= 0,
  };
}

/** A socket that has no peer, to be made, configured, bound and listened on again. */
export function freshSocket(file: HeldFile, facts: SocketFacts): FileKind {
  return {
    type: 'socket',
    domain: facts.domain,
    socketType: facts.socketType,
    protocol: facts.protocol,
    address: isBound(facts) ? facts.address : new Uint8Array(),
    backlog: facts.listening ? backlogOf(file.own, facts) : -1,
    options: socketOptions(file.own, facts),
  };
}

/** Bound: a unix socket with a name, an internet socket with a port. */
const isBound = ({ domain, address }: SocketFacts): boolean =>
  domain === AF.UNIX ? address.length > 2 : ((address[2] ?? 0) | (address[3] ?? 0)) !== 0;

function backlogOf(fd: number, facts: SocketFacts): number {
  if (facts.domain === AF.UNIX) return UNIX_BACKLOG;
  const info = new Uint8Array(232);
  const length = new Uint8Array([232, 0, 0, 0]);
  if (syscall('getsockopt', fd, IPPROTO.TCP, TCP_INFO, info, length) < 0) return UNIX_BACKLOG;
  // Of a listening socket, tcpi_sacked (the 8th of the 32-bit fields after 8 bytes) is the backlog.
  return new DataView(info.buffer).getUint32(28, true);
}

function socketOptions(fd: number, facts: SocketFacts): SocketOption[] {
  const wanted: [level: number, name: number][] = [
    [SOL_SOCKET, SO.REUSEADDR],
    [SOL_SOCKET, SO.KEEPALIVE],
    [SOL_SOCKET, SO.BROADCAST],
  ];
  if (facts.domain === AF.UNIX) wanted.push([SOL_SOCKET, SO.PASSCRED]);
  else wanted.push([SOL_SOCKET, SO.REUSEPORT]);
  if (facts.domain === AF.INET6) wanted.push([IPPROTO.IPV6, IPV6_V6ONLY]);
  if (facts.protocol === IPPROTO.TCP) wanted.push([IPPROTO.TCP, TCP_NODELAY]);
  const options: SocketOption[] = [];
  for (const [level, name] of wanted) {
    const value = new Uint8Array(4);
    const length = new Uint8Array([4, 0, 0, 0]);
    if (syscall('getsockopt', fd, level, name, value, length) >= 0) options.push({ level, name, value });
  }
  return options;
}

function getOption(fd: number, name: number): number {
  const value = new Uint8Array(4);
  const length = new Uint8Array([4, 0, 0, 0]);
  syscall('getsockopt', fd, SOL_SOCKET, name, value, length);
  return new DataView(value.buffer).getInt32(0, true);
}

/** The messages that wait at a socket of a pair, left where they are. A stream has one at the most. */
export function peekMessages(file: HeldFile, socketType: number): Uint8Array[] {
  const waiting = new Uint8Array(4);
  if (ioctl(file.own, SIOCINQ, waiting) < 0) return [];
  const bytes = new DataView(waiting.buffer).getInt32(0, true);
  if (bytes === 0 && socketType === SOCK.STREAM) return [];
  const buffer = new Uint8Array(Math.max(bytes, 65536));
  if (socketType === SOCK.STREAM) {
    const read = syscall('recvfrom', file.own, buffer, bytes, MSG_PEEK_DONTWAIT, 0, 0);
    return read > 0 ? [buffer.slice(0, read)] : [];
  }
  const messages: Uint8Array[] = [];
  setPeekOffset(file.own, 0);
  for (;;) {
    const read = syscall('recvfrom', file.own, buffer, buffer.length, MSG_PEEK_DONTWAIT, 0, 0);
    if (read <= 0) break;
    messages.push(buffer.slice(0, read));
  }
  setPeekOffset(file.own, -1);
  return messages;
}

function setPeekOffset(fd: number, offset: number): void {
  const value = new Uint8Array(4);
  new DataView(value.buffer).setInt32(0, offset, true);
  syscall('setsockopt', fd, SOL_SOCKET, SO.PEEK_OFF, value, 4);
}

/** Inode of the peer of a connected unix socket, by sock_diag(7); undefined where it has none. */
export function unixPeer(inode: bigint): bigint | undefined {
  const socket = syscall('socket', AF.NETLINK, SOCK.RAW, NETLINK_SOCK_DIAG);
  if (socket < 0) return undefined;
  try {
    writeSync(socket, unixDiagRequest(inode));
    const reply = new Uint8Array(8192);
    const length = syscall('recvfrom', socket, reply, reply.length, 0, 0, 0);
    return length > 0 ? peerOf(new DataView(reply.buffer, 0, length)) : undefined;
  } finally {
    closeSync(socket);
  }
}

/** struct nlmsghdr, then struct unix_diag_req. */
function unixDiagRequest(inode: bigint): Uint8Array {
  const request = new Uint8Array(16 + 24);
  const view = new DataView(request.buffer);
  view.setUint32(0, request.length, true);
  view.setUint16(4, SOCK_DIAG_BY_FAMILY, true);
  view.setUint16(6, 1, true); // NLM_F_REQUEST
  request[16] = AF.UNIX;
  view.setUint32(20, 0xffff_ffff, true); // udiag_states: all
  view.setUint32(24, Number(inode), true);
  view.setUint32(28, UDIAG_SHOW_PEER, true);
  view.setUint32(32, 0xffff_ffff, true); // udiag_cookie: none
  view.setUint32(36, 0xffff_ffff, true);
  return request;
}

function peerOf(reply: DataView): bigint | undefined {
  if (reply.byteLength < 32 || reply.getUint16(4, true) !== SOCK_DIAG_BY_FAMILY) return undefined;
  for (let at = 32; at + 8 <= reply.byteLength; ) {
    const length = reply.getUint16(at, true);
    if (reply.getUint16(at + 2, true) === UNIX_DIAG_PEER) return BigInt(reply.getUint32(at + 4, true));
    if (length < 4) break;
    at += (length + 3) & ~3;
  }
  return undefined;
}
