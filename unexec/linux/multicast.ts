/**
 * Multicast groups that a socket has joined. The kernel lists the groups of each interface, not of each socket;
 * but it tells a socket its filter for a group, and refuses where the socket is no member.
 * Facts: ip(7), proc(5) (net/igmp), RFC 3678; linux/in.h of Linux 6.1 (MCAST_*, group_filter).
 *
 * @module
 */
import type { Membership } from '../image.ts';
import { syscall } from './libc.ts';
import { readProc } from './proc.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const IPPROTO_IP = 0;
const IPPROTO_IPV6 = 41;
const MCAST = { JOIN_GROUP: 42, BLOCK_SOURCE: 43, JOIN_SOURCE_GROUP: 46, MSFILTER: 48 } as const;
const MCAST_INCLUDE = 1;
/** struct sockaddr_storage. */
const ADDRESS_SIZE = 128;
/** struct group_filter: gf_interface, gf_group, gf_fmode, gf_numsrc, gf_slist. */
const FILTER = { group: 8, mode: 136, count: 140, sources: 144 } as const;
/** net.ipv4.igmp_max_msf is 10, and net.ipv6.mld_max_msf 64. */
const MOST_SOURCES = 64;

interface Group {
  readonly interfaceIndex: number;
  readonly interfaceName: string;
  /** As sockaddr_in and sockaddr_in6 hold it. */
  readonly address: Uint8Array;
}

/** What joins the groups of a socket again, in this order. `pid` tells whose network it is. */
export function memberships(fd: number, domain: number, pid: number): Membership[] {
  const groups = domain === AF_INET6 ? [...groupsOf6(pid), ...groupsOf4(pid)] : groupsOf4(pid);
  return groups.flatMap(group => membershipOf(fd, group));
}

function membershipOf(fd: number, group: Group): Membership[] {
  const isV4 = group.address.length === 4;
  const level = isV4 ? IPPROTO_IP : IPPROTO_IPV6;
  const filter = new Uint8Array(FILTER.sources + MOST_SOURCES * ADDRESS_SIZE);
  const view = new DataView(filter.buffer);
  filter.set(requestOf(group));
  view.setUint32(FILTER.count, MOST_SOURCES, true);
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, filter.length, true);
  if (syscall('getsockopt', fd, level, MCAST.MSFILTER, filter, length) < 0) return [];
  const common = { level, interfaceName: group.interfaceName, group: textOf(group.address) };
  const count = Math.min(view.getUint32(FILTER.count, true), MOST_SOURCES);
  const sources = Array.from({ length: count }, (_, i) => {
    const at = FILTER.sources + i * ADDRESS_SIZE;
    return Uint8Array.of(...requestOf(group), ...filter.subarray(at, at + ADDRESS_SIZE));
  });
  if (view.getUint32(FILTER.mode, true) === MCAST_INCLUDE) {
    return sources.map(value => ({ ...common, name: MCAST.JOIN_SOURCE_GROUP, value }));
  }
  return [
    { ...common, name: MCAST.JOIN_GROUP, value: requestOf(group) },
    ...sources.map(value => ({ ...common, name: MCAST.BLOCK_SOURCE, value })),
  ];
}

/** struct group_req: gr_interface, gr_group. It begins struct group_source_req and struct group_filter too. */
function requestOf({ interfaceIndex, address }: Group): Uint8Array {
  const bytes = new Uint8Array(FILTER.group + ADDRESS_SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, interfaceIndex, true);
  const isV4 = address.length === 4;
  view.setUint16(FILTER.group, isV4 ? AF_INET : AF_INET6, true);
  // sockaddr_in: family, port, address; sockaddr_in6 has a flow label before the address.
  bytes.set(address, FILTER.group + (isV4 ? 4 : 8));
  return bytes;
}

/** `1 lo : 1 V3`, and a line for each group: its address as the word that it is in memory, in hexadecimal. */
function groupsOf4(pid: number): Group[] {
  const groups: Group[] = [];
  let current = { interfaceIndex: 0, interfaceName: '' };
  for (const line of linesOf(`/proc/${pid}/net/igmp`)) {
    const [, index, name = ''] = /^(\d+)\s+(\S+)\s*:/.exec(line) ?? [];
    if (index !== undefined) current = { interfaceIndex: Number(index), interfaceName: name };
    const [, word] = /^\s+([0-9A-F]{8})\s/.exec(line) ?? [];
    if (word === undefined) continue;
    groups.push({ ...current, address: Uint8Array.from(Buffer.from(word, 'hex')).reverse() });
  }
  return groups;
}

/** `1 lo ff020000000000000000000000000001 1 0000000C 0` */
const groupsOf6 = (pid: number): Group[] =>
  linesOf(`/proc/${pid}/net/igmp6`).flatMap(line => {
    const [, index, name = '', address = ''] = /^(\d+)\s+(\S+)\s+([0-9a-f]{32})\s/.exec(line) ?? [];
    if (index === undefined) return [];
    return [
      {
        interfaceIndex: Number(index),
        interfaceName: name,
        address: Uint8Array.from(Buffer.from(address, 'hex')),
      },
    ];
  });

/** A kernel without multicast has no such file. */
function linesOf(path: string): string[] {
  try {
    return readProc(path).split('\n');
  } catch {
    return [];
  }
}

const textOf = (address: Uint8Array): string =>
  address.length === 4
    ? address.join('.')
    : (Buffer.from(address).toString('hex').match(/.{4}/g) ?? []).join(':');
