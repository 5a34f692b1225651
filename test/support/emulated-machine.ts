/**
 * Another machine: qemu-system with a kernel of Debian (.ci/debian-files.json) and a root file system of nothing
 * but busybox and the files that a test wants there. It runs a script and is powered off. Plain emulation,
 * which is the same everywhere and executes no instruction that the chosen CPU lacks: about 2 s for a
 * boot on x86-64, 3 s on aarch64. Facts: qemu-system-x86_64(1), kernel-parameters.txt of Linux 6.1.
 *
 * @module
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type ArchiveFiles, writeCpio } from './cpio.ts';
import { ROOT, sandbox } from './sandbox.ts';

export interface MachineOptions {
  /** Default: x86_64. */
  readonly arch?: 'x86_64' | 'aarch64';
  /** What qemu's -cpu takes. Default: all that it can emulate. */
  readonly cpu?: string;
  /** How many CPUs. Default: 1. */
  readonly cpus?: number;
  /** MiB. Files take their size of it. Default: 1024. */
  readonly memory?: number;
  /** What is there beside /bin/busybox, by absolute path. */
  readonly files?: ArchiveFiles;
  /** Run by busybox's sh as root, with /proc, /sys, /dev and /tmp mounted and stdin from /dev/null. */
  readonly script: string;
  /** A directory that gets what the script leaves in /out. */
  readonly collect?: string;
  /** Seconds from power-on to power-off. Default: 120. */
  readonly timeout?: number;
}

export interface MachineOutcome {
  /** stdout and stderr of the script. */
  readonly output: string;
  /** Exit status of the script. */
  readonly status: number;
}

const MACHINES = {
  x86_64: {
    command: 'qemu-system-x86_64',
    debianPackage: 'qemu-system-x86',
    architecture: 'amd64',
    machine: 'pc',
    cpu: 'max',
    console: 'ttyS0',
  },
  aarch64: {
    command: 'qemu-system-aarch64',
    debianPackage: 'qemu-system-arm',
    architecture: 'arm64',
    machine: 'virt',
    cpu: 'max,pauth-impdef=on',
    console: 'ttyAMA0',
  },
} as const;
/** Of a disk on a virtio bus, in the order in which they need each other; some kernels have some built in. */
const DISK_MODULES = [
  'virtio/virtio',
  'virtio/virtio_ring',
  'virtio/virtio_pci_legacy_dev',
  'virtio/virtio_pci_modern_dev',
  'virtio/virtio_pci',
  'block/virtio_blk',
];
const BEGIN = '---- begin of the output';
const END = '---- end of the output, status';
const COLLECTED_MOST = 2 * 1024 ** 3;

let directory: string | undefined;
let count = 0;

/** Boots a machine, runs the script there and waits until it is off. @throws Error with all that its console said */
export async function runMachine(options: MachineOptions): Promise<MachineOutcome> {
  directory ??= sandbox('machine');
  const own = join(directory, `${count++}`);
  mkdirSync(own);
  try {
    const console = await boot(options, own);
    const text = console.replaceAll('\r', '');
    const begin = text.indexOf(`${BEGIN}\n`);
    const end = text.lastIndexOf(END);
    if (begin < 0 || end < begin) throw new Error(`the machine did not come to the end:\n${text}`);
    if (options.collect !== undefined) unpackDisk(own, options.collect);
    const status = Number.parseInt(text.slice(end + END.length), 10);
    return { output: text.slice(begin + BEGIN.length + 1, end), status };
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
}

/** @returns what the console said */
async function boot(options: MachineOptions, own: string): Promise<string> {
  const { arch = 'x86_64', cpus = 1, memory = 1024, timeout = 120 } = options;
  const { command, debianPackage, machine, cpu, console } = MACHINES[arch];
  const { kernel, busybox, modules } = debianFiles(arch);
  const archive = join(own, 'root.cpio');
  const loaded = options.collect === undefined ? {} : modules;
  writeCpio(archive, {
    '/bin/busybox': busybox,
    '/init': { text: init(Object.keys(loaded), options.collect !== undefined), mode: 0o755 },
    '/script': { text: options.script, mode: 0o755 },
    ...loaded,
    ...options.files,
  });
  const disk = join(own, 'disk');
  if (options.collect !== undefined) {
    writeFileSync(disk, '');
    truncateSync(disk, COLLECTED_MOST);
  }
  const args = [
    ['-machine', `${machine},accel=tcg`, '-cpu', options.cpu ?? cpu, '-smp', `${cpus}`],
    ['-m', `${memory}`, '-nodefaults', '-no-reboot', '-display', 'none', '-serial', 'stdio'],
    ['-kernel', kernel, '-initrd', archive],
    // On a busy machine an emulated timer can stand still for so long that the kernel takes it for broken.
    ['-append', `console=${console} quiet panic=-1 no_timer_check`],
    options.collect === undefined ? [] : ['-drive', `file=${disk},format=raw,if=virtio`],
  ].flat();
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  }
  const timer = setTimeout(() => {
    said += `\n(killed after ${timeout} s)\n`;
    child.kill('SIGKILL');
  }, timeout * 1000);
  try {
    return await new Promise<string>((resolve, reject) => {
      child.on('error', () =>
        reject(new Error(`${command} is missing: install the Debian package ${debianPackage}`)),
      );
      child.on('close', () => resolve(said));
    });
  } finally {
    clearTimeout(timer);
    child.kill('SIGKILL');
  }
}

/** What .ci/debian-files.mjs has fetched. */
function debianFiles(arch: keyof typeof MACHINES): {
  kernel: string;
  busybox: string;
  modules: ArchiveFiles;
} {
  const { architecture } = MACHINES[arch];
  const base = join(ROOT, '.cache/debian/bookworm');
  const image = join(base, `linux-image-cloud-${architecture}-${architecture}`);
  const busybox = join(base, `busybox-static-${architecture}/bin/busybox`);
  if (!existsSync(image) || !existsSync(busybox)) {
    throw new Error(`${image} or ${busybox} is missing: fetch them with node .ci/setup.mjs test`);
  }
  const kernel = readdirSync(join(image, 'boot')).find(name => name.startsWith('vmlinuz-'));
  const release = readdirSync(join(image, 'lib/modules'))[0];
  const drivers = join(image, 'lib/modules', release ?? '', 'kernel/drivers');
  const paths = DISK_MODULES.map(name => join(drivers, `${name}.ko`)).filter(path => existsSync(path));
  return {
    kernel: join(image, 'boot', kernel ?? ''),
    busybox,
    modules: Object.fromEntries(paths.map(path => [`/modules/${basename(path)}`, path])),
  };
}

const init = (modules: readonly string[], collecting: boolean): string => `#!/bin/busybox sh
busybox() { /bin/busybox "$@"; }
busybox mkdir -p /proc /sys /dev /tmp /out
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs devtmpfs /dev
busybox mkdir -p /dev/pts /dev/shm
busybox mount -t devpts devpts /dev/pts
busybox mount -t tmpfs tmpfs /dev/shm
busybox mount -t tmpfs -o size=90% tmpfs /tmp
busybox --install -s /bin
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/ TERM=dumb
cd /
ifconfig lo 127.0.0.1 up
${modules.map(path => `insmod ${path}`).join('\n')}
echo '${BEGIN}'
{ sh /script 2>&1 </dev/null; echo $? >/status; } | cat
${collecting ? 'tar -c -f /dev/vda -C /out . || echo 1 >/status' : ''}
echo "${END} $(cat /status)"
poweroff -f
`;

/** The disk holds an archive and zeros behind it. */
function unpackDisk(own: string, target: string): void {
  mkdirSync(target, { recursive: true });
  const { status, stderr } = spawnSync('tar', ['-x', '-f', join(own, 'disk'), '-C', target], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`what the machine left cannot be unpacked: ${stderr}`);
}
