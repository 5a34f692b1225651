/**
 * The path of a file that the kernel names by its handle. Only root (CAP_DAC_READ_SEARCH) may open those.
 * Facts: open_by_handle_at(2), proc(5) (mountinfo, fdinfo of inotify).
 *
 * @module
 */
import { closeSync, openSync, readlinkSync } from 'node:fs';
import { syscall } from './libc.ts';
import { O } from './open-flags.ts';
import { readProc } from './proc.ts';

/** The kernel's own device numbers, in which fdinfo writes `sdev`, have 20 bits for the minor. */
const MINOR_BITS = 20n;

/**
 * @param line of fdinfo, with `sdev:800001 … fhandle-bytes:8 fhandle-type:1 f_handle:…`
 * @returns undefined where there is no such file any more, or we may not ask
 */
export function pathOfHandle(line: string): string | undefined {
  const [, device, type = '', handle = ''] =
    /\bsdev:([0-9a-f]+) .*\bfhandle-type:([0-9a-f]+) f_handle:([0-9a-f]+)/.exec(line) ?? [];
  if (device === undefined) return undefined;
  const bytes = fileHandle(Number.parseInt(type, 16), Buffer.from(handle, 'hex'));
  for (const mountPoint of mountPoints(BigInt(`0x${device}`))) {
    const path = openByHandle(mountPoint, bytes);
    if (path !== undefined) return path;
  }
  return undefined;
}

/** struct file_handle: handle_bytes, handle_type, f_handle. */
function fileHandle(type: number, handle: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(8 + handle.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, handle.length, true);
  view.setInt32(4, type, true);
  bytes.set(handle, 8);
  return bytes;
}

/** `36 35 98:0 /root /mount/point …`: where a device is mounted as a whole. */
function mountPoints(device: bigint): string[] {
  const wanted = `${device >> MINOR_BITS}:${device & ((1n << MINOR_BITS) - 1n)}`;
  return readProc('/proc/self/mountinfo')
    .split('\n')
    .map(line => line.split(' '))
    .flatMap(([, , number, root, point = '']) =>
      number === wanted && root === '/' ? [unescapeOctal(point)] : [],
    );
}

const unescapeOctal = (text: string): string =>
  Buffer.from(
    text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
    'latin1',
  ).toString();

function openByHandle(mountPoint: string, handle: Uint8Array): string | undefined {
  let mount: number;
  try {
    mount = openSync(mountPoint, 'r');
  } catch {
    return undefined;
  }
  const fd = syscall('open_by_handle_at', mount, handle, O.PATH | O.CLOEXEC);
  closeSync(mount);
  if (fd < 0) return undefined;
  try {
    const path = readlinkSync(`/proc/self/fd/${fd}`);
    return path.startsWith('/') && !path.endsWith(' (deleted)') ? path : undefined;
  } finally {
    closeSync(fd);
  }
}
