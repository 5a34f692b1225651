/**
 * Options of a socket that the program has changed: those that differ from a new socket of its kind.
 * Facts: socket(7), tcp(7), ip(7), ipv6(7); asm-generic/socket.h, linux/tcp.h, linux/in6.h of Linux 6.1.
 *
 * @module
 */
import { closeSync } from 'node:fs';
import type { SocketOption } from '../image.ts';
import { syscall } from './libc.ts';
import { O } from './open-flags.ts';

const AF = { UNIX: 1, INET: 2, INET6: 10 } as const;
const SOL_SOCKET = 1;
const IPPROTO = { IP: 0, TCP: 6, IPV6: 41 } as const;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;

/** Level, name, bytes of the value. */
type Candidate = readonly [level: number, name: number, size: number];

// biome-ignore format: a dense table
const OF_ALL: readonly Candidate[] = [
  [SOL_SOCKET, 2, 4], // SO_REUSEADDR
  [SOL_SOCKET, 6, 4], // SO_BROADCAST
  [SOL_SOCKET, SO_SNDBUF, 4],
  [SOL_SOCKET, SO_RCVBUF, 4],
  [SOL_SOCKET, 9, 4], // SO_KEEPALIVE
  [SOL_SOCKET, 10, 4], // SO_OOBINLINE
  [SOL_SOCKET, 12, 4], // SO_PRIORITY
  [SOL_SOCKET, 13, 8], // SO_LINGER
  [SOL_SOCKET, 18, 4], // SO_RCVLOWAT
  [SOL_SOCKET, 20, 16], // SO_RCVTIMEO
  [SOL_SOCKET, 21, 16], // SO_SNDTIMEO
  [SOL_SOCKET, 25, 16], // SO_BINDTODEVICE
  [SOL_SOCKET, 29, 4], // SO_TIMESTAMP
  [SOL_SOCKET, 35, 4], // SO_TIMESTAMPNS
  [SOL_SOCKET, 40, 4], // SO_RXQ_OVFL
  [SOL_SOCKET, 60, 4], // SO_ZEROCOPY
];
// biome-ignore format: a dense table
const OF_UNIX: readonly Candidate[] = [
  [SOL_SOCKET, 16, 4], // SO_PASSCRED
  [SOL_SOCKET, 34, 4], // SO_PASSSEC
  [SOL_SOCKET, 42, 4], // SO_PEEK_OFF
];
// biome-ignore format: a dense table
const OF_INTERNET: readonly Candidate[] = [
  [SOL_SOCKET, 15, 4], // SO_REUSEPORT
  [IPPROTO.IP, 1, 4], // IP_TOS
  [IPPROTO.IP, 2, 4], // IP_TTL
  [IPPROTO.IP, 8, 4], // IP_PKTINFO
  [IPPROTO.IP, 10, 4], // IP_MTU_DISCOVER
  [IPPROTO.IP, 11, 4], // IP_RECVERR
  [IPPROTO.IP, 12, 4], // IP_RECVTTL
  [IPPROTO.IP, 13, 4], // IP_RECVTOS
  [IPPROTO.IP, 15, 4], // IP_FREEBIND
  [IPPROTO.IP, 32, 4], // IP_MULTICAST_IF
  [IPPROTO.IP, 33, 4], // IP_MULTICAST_TTL
  [IPPROTO.IP, 34, 4], // IP_MULTICAST_LOOP
  [IPPROTO.IP, 49, 4], // IP_MULTICAST_ALL
];
// biome-ignore format: a dense table
const OF_IPV6: readonly Candidate[] = [
  [IPPROTO.IPV6, 16, 4], // IPV6_UNICAST_HOPS
  [IPPROTO.IPV6, 17, 4], // IPV6_MULTICAST_IF
  [IPPROTO.IPV6, 18, 4], // IPV6_MULTICAST_HOPS
  [IPPROTO.IPV6, 19, 4], // IPV6_MULTICAST_LOOP
  [IPPROTO.IPV6, 25, 4], // IPV6_RECVERR
  [IPPROTO.IPV6, 26, 4], // IPV6_V6ONLY
  [IPPROTO.IPV6, 49, 4], // IPV6_RECVPKTINFO
  [IPPROTO.IPV6, 67, 4], // IPV6_TCLASS
];
// biome-ignore format: a dense table
const OF_TCP: readonly Candidate[] = [
  [IPPROTO.TCP, 1, 4], // TCP_NODELAY
  [IPPROTO.TCP, 3, 4], // TCP_CORK
  [IPPROTO.TCP, 4, 4], // TCP_KEEPIDLE
  [IPPROTO.TCP, 5, 4], // TCP_KEEPINTVL
  [IPPROTO.TCP, 6, 4], // TCP_KEEPCNT
  [IPPROTO.TCP, 7, 4], // TCP_SYNCNT
  [IPPROTO.TCP, 9, 4], // TCP_DEFER_ACCEPT
  [IPPROTO.TCP, 13, 16], // TCP_CONGESTION
  [IPPROTO.TCP, 18, 4], // TCP_USER_TIMEOUT
  [IPPROTO.TCP, 23, 4], // TCP_FASTOPEN
];

export interface SocketKind {
  readonly domain: number;
  readonly socketType: number;
  readonly protocol: number;
}

/** The changed options, as setsockopt(2) takes them. */
export function changedOptions(fd: number, kind: SocketKind): SocketOption[] {
  const fresh = syscall('socket', kind.domain, kind.socketType | O.CLOEXEC, kind.protocol);
  try {
    return candidates(kind).flatMap(([level, name, size]) => {
      const value = getOption(fd, level, name, size);
      if (value === undefined) return [];
      const usual = fresh < 0 ? undefined : getOption(fresh, level, name, size);
      if (usual !== undefined && Buffer.compare(usual, value) === 0) return [];
      return [{ level, name, value: asSet(level, name, value) }];
    });
  } finally {
    if (fresh >= 0) closeSync(fresh);
  }
}

function candidates({ domain, protocol }: SocketKind): Candidate[] {
  const ofDomain = domain === AF.UNIX ? OF_UNIX : OF_INTERNET;
  return [
    ...OF_ALL,
    ...ofDomain,
    ...(domain === AF.INET6 ? OF_IPV6 : []),
    ...(protocol === IPPROTO.TCP ? OF_TCP : []),
  ];
}

/** The bytes of an option; undefined where the socket has none such. */
export function getOption(fd: number, level: number, name: number, size: number): Uint8Array | undefined {
  const value = new Uint8Array(size);
  const length = new Uint8Array([size, 0, 0, 0]);
  return syscall('getsockopt', fd, level, name, value, length) < 0 ? undefined : value;
}

/** Buffer sizes are told twice as large as they were set (socket(7)). */
function asSet(level: number, name: number, value: Uint8Array): Uint8Array {
  if (level !== SOL_SOCKET || (name !== SO_SNDBUF && name !== SO_RCVBUF)) return value;
  const half = new Uint8Array(4);
  new DataView(half.buffer).setInt32(0, new DataView(value.buffer).getInt32(0, true) >> 1, true);
  return half;
}
