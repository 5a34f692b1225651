/**
 * Sockets of a traced process: pairs inside it, listening and unconnected ones. Facts: socket(7),
 * unix(7), tcp(7), recv(2); asm-generic/socket.h of Linux 6.1.
 *
 * @module
 */
import { statSync } from 'node:fs';
import type { FileKind } from '../image.ts';
import type { Context } from './descriptors.ts';
import { ERRNO } from './errno.ts';
import { type HeldFile, infoOf } from './held-file.ts';
import { syscall } from './libc.ts';
import { memberships } from './multicast.ts';
import { eventsOf, POLL } from './poll.ts';
import { leaveOut, refuse } from './refusal.ts';
import { changedOptions, getOption } from './socket-options.ts';
import { type UnixSocket, unixSocket } from './unix-diag.ts';
import { peekMessages } from './unread-messages.ts';

const AF = { UNIX: 1, INET: 2, INET6: 10 } as const;
/** Families whose sockets have state that nothing tells (linux/socket.h). */
const FAMILY_NAMES: ReadonlyMap<number, string> = new Map([
  [16, 'a netlink socket'],
  [17, 'a packet socket'],
  [31, 'a Bluetooth socket'],
  [38, 'a socket of the kernel crypto interface'],
  [40, 'a socket to a virtual machine'],
  [44, 'an XDP socket'],
]);
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SO = { TYPE: 3, GET_FILTER: 26, ACCEPTCONN: 30, PROTOCOL: 38, DOMAIN: 39 } as const;
const IPPROTO_TCP = 6;
const TCP_INFO = 11;
const TCP_INFO_SIZE = 104;
const TCP_STATE = { CLOSE: 7, LISTEN: 10 } as const;
const SHUT_BOTH = 3;
/** Where it is not told; kernels cap it at net.core.somaxconn (4096). */
const USUAL_BACKLOG = 4096;

interface SocketFacts {
  readonly domain: number;
  readonly socketType: number;
  readonly protocol: number;
  readonly listening: boolean;
  /** `struct sockaddr` as bound; two bytes (the family) when a unix socket has no name. */
  readonly address: Uint8Array;
  readonly connected: boolean;
}

export function socket(file: HeldFile, { pid, files, options }: Context): FileKind {
  const facts = socketFacts(file);
  const known = facts.domain === AF.UNIX || facts.domain === AF.INET || facts.domain === AF.INET6;
  if (!known) {
    const name = FAMILY_NAMES.get(facts.domain) ?? `a socket of address family ${facts.domain}`;
    return refuse(file, 'FD_SOCKET_FAMILY', name);
  }
  if (Number(infoOf(file, 'scm_fds') ?? 0) > 0) {
    return refuse(file, 'FD_PASSED_DESCRIPTORS', 'a socket with descriptors on their way to it (SCM_RIGHTS)');
  }
  if (hasFilter(file)) return refuse(file, 'FD_SOCKET_FILTER', 'a socket with a filter (SO_ATTACH_FILTER)');
  if (!facts.connected) {
    if (!options.hangupSockets && somethingWaits(file, facts)) {
      const what = facts.listening
        ? 'connections that nobody has accepted yet'
        : 'messages that nobody has read yet';
      const remedy = `freeze when they have been dealt with, drop them with --hangup-sockets, or ${leaveOut(file)}`;
      return refuse(file, 'FD_WAITING', `a socket with ${what}`, remedy);
    }
    return freshSocket(file, facts, pid);
  }
  const pair = facts.domain === AF.UNIX ? unixPair(file, facts, files) : undefined;
  if (pair !== undefined) return pair;
  if (options.hangupSockets) return { type: 'hangup' };
  return refuse(
    file,
    'FD_CONNECTED_SOCKET',
    connectionNoun(facts),
    `close it before the freeze point, give it a hang-up with --hangup-sockets, or ${leaveOut(file)}`,
  );
}

/** Asked for no instructions, the kernel tells how many there are; those of eBPF it does not tell. */
function hasFilter(file: HeldFile): boolean {
  const length = new Uint8Array(4);
  const told = syscall('getsockopt', file.own, SOL_SOCKET, SO.GET_FILTER, 0, length);
  return told === -ERRNO.EACCES || (told >= 0 && length.some(byte => byte !== 0));
}

/** What waits at a listening or unconnected socket came from outside, and would be lost. */
function somethingWaits(file: HeldFile, { listening, socketType }: SocketFacts): boolean {
  if (!listening && socketType !== SOCK_DGRAM) return false;
  return (eventsOf(file.own, POLL.IN) & POLL.IN) !== 0;
}

function connectionNoun({ domain, protocol, socketType }: SocketFacts): string {
  if (domain === AF.UNIX) return 'a connected unix socket whose peer is outside the process';
  if (protocol === IPPROTO_TCP) return 'a TCP connection';
  return socketType === SOCK_DGRAM ? 'a connected UDP socket' : 'a connected socket';
}

function socketFacts(file: HeldFile): SocketFacts {
  const length = new Uint8Array([128, 0, 0, 0]);
  const buffer = new Uint8Array(128);
  const peerName = syscall('getpeername', file.own, buffer, length);
  length[0] = 128;
  buffer.fill(0);
  const named = syscall('getsockname', file.own, buffer, length);
  const protocol = numericOption(file, SO.PROTOCOL);
  return {
    domain: numericOption(file, SO.DOMAIN),
    socketType: numericOption(file, SO.TYPE),
    protocol,
    listening: numericOption(file, SO.ACCEPTCONN) !== 0,
    address: named < 0 ? new Uint8Array() : buffer.slice(0, length[0] ?? 0),
    // A connection that is being made has no peer name yet.
    connected: peerName >= 0 || (protocol === IPPROTO_TCP && isConnecting(file)),
  };
}

function numericOption(file: HeldFile, name: number): number {
  const value = getOption(file.own, SOL_SOCKET, name, 4);
  return value === undefined ? 0 : new DataView(value.buffer).getInt32(0, true);
}

function isConnecting(file: HeldFile): boolean {
  const state = getOption(file.own, IPPROTO_TCP, TCP_INFO, TCP_INFO_SIZE)?.[0];
  return state !== undefined && state !== TCP_STATE.CLOSE && state !== TCP_STATE.LISTEN;
}

/** A socket that has no peer, to be made, configured, bound and listened on again. */
function freshSocket(file: HeldFile, facts: SocketFacts, pid: number): FileKind {
  const { domain, socketType, protocol, listening, address } = facts;
  return {
    type: 'socket',
    domain,
    socketType,
    protocol,
    address: isBound(facts) ? address : new Uint8Array(),
    mode: domain === AF.UNIX ? modeOfPath(address, file) : undefined,
    backlog: listening ? backlogOf(file, facts) : -1,
    options: changedOptions(file.own, facts),
    memberships: domain === AF.UNIX ? [] : memberships(file.own, domain, pid),
  };
}

/** Bound: a unix socket with a name, an internet socket with a port. */
const isBound = ({ domain, address }: SocketFacts): boolean =>
  domain === AF.UNIX ? address.length > 2 : ((address[2] ?? 0) | (address[3] ?? 0)) !== 0;

/** Permissions of the path of a unix socket, looked up where its process would. */
function modeOfPath(address: Uint8Array, file: HeldFile): number | undefined {
  if (address.length < 3 || address[2] === 0) return undefined;
  const end = address.indexOf(0, 2);
  const path = Buffer.from(address.subarray(2, end < 0 ? undefined : end)).toString();
  const found = statSync(path.startsWith('/') ? path : `${file.cwd}/${path}`, { throwIfNoEntry: false });
  return found?.mode;
}

function backlogOf(file: HeldFile, { domain }: SocketFacts): number {
  if (domain === AF.UNIX) return unixSocket(file.stat.ino)?.backlog ?? USUAL_BACKLOG;
  const info = getOption(file.own, IPPROTO_TCP, TCP_INFO, TCP_INFO_SIZE);
  // Of a listening socket, tcpi_sacked (the 6th of the 32-bit fields after 8 bytes) is the backlog.
  return info === undefined ? USUAL_BACKLOG : new DataView(info.buffer).getUint32(28, true);
}

/** The other end of a unix socket within the process. */
export function pairedWith(file: HeldFile, files: readonly HeldFile[]): HeldFile | undefined {
  const peer = unixSocket(file.stat.ino)?.peer;
  return peer === undefined || peer === 0n
    ? undefined
    : files.find(other => other.link === `socket:[${peer}]` && unixSocket(peer)?.peer === file.stat.ino);
}

function unixPair(
  file: HeldFile,
  { socketType, ...kind }: SocketFacts,
  files: readonly HeldFile[],
): FileKind | undefined {
  const told = unixSocket(file.stat.ino);
  const other = pairedWith(file, files);
  if (told === undefined || (other === undefined && !isHungUp(told, socketType))) return undefined;
  const own = file.stat.ino;
  const theirs = other?.stat.ino ?? own;
  const { shutdown } = told;
  return {
    type: 'socketpair',
    id: Math.min(Number(own), Number(theirs)),
    end: own <= theirs ? 0 : 1,
    socketType,
    unread: peekMessages(file, socketType, shutdown),
    shutdown,
    options: changedOptions(file.own, { ...kind, socketType }),
  };
}

/** A peer without an inode is closed; of a stream it may also be one that nobody has accepted yet. */
const isHungUp = ({ peer, shutdown }: UnixSocket, socketType: number): boolean =>
  peer === 0n && (socketType === SOCK_DGRAM || shutdown === SHUT_BOTH);
