/**
 * Set-up on a fresh machine, done before every `npm run` command and quick when there is nothing to do:
 * dependencies as package-lock.json has them, compiled sources with the page of the page map, for `test` and
 * `bench` the Debian packages of packages.mjs, and for `test` the macOS files of macho-files.json, which are
 * taken out of npm packages and read, never run by us, Node itself for the emulated aarch64 machine
 * (arm64-files.json), and the Debian files of debian-files.json. It must run before anything is installed: only
 * Node's own modules here.
 *
 *     node .ci/setup.mjs [test | bench]
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fetchDebianFiles } from './debian-files.mjs';
import { PACKAGES } from './packages.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const LEAST_NODE = [20, 19];
const COMMAND = 'build/cli/main.js';

process.chdir(ROOT);
const purpose = process.argv[2];
if (purpose !== undefined && purpose !== 'test' && purpose !== 'bench') {
  fail(`unknown purpose '${purpose}', expected test or bench`);
}
checkNode();
// No dependency needs its install script: what they would build or fetch is a package of its own.
if (!dependenciesMatch())
  run('installing dependencies', ...npm('ci', '--ignore-scripts', '--no-audit', '--no-fund'));
compile();
if (purpose !== undefined) installPackages(purpose);
if (purpose === 'test') {
  fetchNpmFiles('.ci/macho-files.json', '.cache/macho');
  fetchNpmFiles('.ci/arm64-files.json', '.cache/arm64');
  fetchDebianFiles(run, fail);
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const [leastMajor = 0, leastMinor = 0] = LEAST_NODE;
  if (major > leastMajor || (major === leastMajor && minor >= leastMinor)) return;
  fail(`Node ${process.versions.node} is too old: ${LEAST_NODE.join('.')} or newer is needed`);
}

/**
 * Whether node_modules holds what package-lock.json asks for. npm keeps its own list of what it
 * installed; packages for other platforms are optional and missing from it.
 */
function dependenciesMatch() {
  if (!existsSync('node_modules/.package-lock.json')) return false;
  const wanted = packagesOf('package-lock.json');
  const installed = packagesOf('node_modules/.package-lock.json');
  return Object.entries(wanted).every(([path, { version, optional }]) => {
    if (path === '') return true;
    const found = installed[path];
    if (found === undefined) return optional === true;
    return found.version === version && existsSync(path);
  });
}

/** @returns {Record<string, { version: string, optional?: boolean }>} */
function packagesOf(lock) {
  return JSON.parse(readFileSync(lock, 'utf8')).packages;
}

/** The npm that runs us, or the one of the PATH. */
function npm(...args) {
  const path = process.env['npm_execpath'];
  return path?.endsWith('.js') === true ? [process.execPath, [path, ...args]] : ['npm', args];
}

/** Compiles what changed, and all of it where the result is not what the compiler remembers. */
function compile() {
  if (!existsSync(COMMAND)) rmSync('build/.tsbuildinfo', { force: true });
  run('', process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json']);
  removeOrphans();
  run('', process.execPath, ['.ci/bundle-page.mjs']);
  chmodSync(COMMAND, 0o755);
}

/** The compiler leaves what it made of sources that are gone; it would be packed, and run. */
function removeOrphans() {
  for (const path of readdirSync('build', { recursive: true, encoding: 'utf8' })) {
    if (!path.endsWith('.js') || existsSync(path.replace(/\.js$/, '.ts'))) continue;
    const base = join('build', path.slice(0, -'.js'.length));
    for (const extension of ['.js', '.js.map', '.d.ts']) rmSync(base + extension, { force: true });
  }
}

function installPackages(purpose) {
  const missing = PACKAGES.filter(
    ({ proof, neededFor }) => neededFor.includes(purpose) && !existsSync(proof),
  );
  if (missing.length === 0) return;
  const names = missing.map(({ name }) => name);
  const install = ['install', '--yes', '--no-install-recommends', ...names];
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    fail(
      `these Debian packages are needed for npm run ${purpose}: ${names.join(' ')}\n` +
        `install them with: sudo apt-get ${install.join(' ')}`,
    );
  }
  process.env['DEBIAN_FRONTEND'] = 'noninteractive';
  run('updating the package lists', 'apt-get', ['update', '--quiet']);
  startingNothing(() => run(`installing ${names.join(' ')}`, 'apt-get', [...install, '--quiet']));
  const still = missing.filter(({ proof }) => !existsSync(proof));
  if (still.length > 0) {
    fail(`installed, and yet not there: ${still.map(({ name, proof }) => `${proof} (${name})`).join(', ')}`);
  }
}

/** Packages of servers would start them: Debian asks policy-rc.d first, and 101 forbids it. */
function startingNothing(install) {
  const policy = '/usr/sbin/policy-rc.d';
  if (existsSync(policy)) return install();
  process.once('exit', () => rmSync(policy, { force: true }));
  writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  install();
  rmSync(policy);
}

/**
 * Files of npm packages by a list of them, in a directory a package under `cache`. It appears there when it is
 * whole, so that being there is enough the next time.
 */
function fetchNpmFiles(list, cache) {
  const partial = `.cache/partial-${process.pid}`;
  process.once('exit', () => rmSync(partial, { recursive: true, force: true }));
  for (const { name, version, integrity, files } of JSON.parse(readFileSync(list, 'utf8'))) {
    const directory = `${cache}/${name.replace(/^@/, '').replace('/', '-')}-${version}`;
    if (files.every(file => existsSync(join(directory, file)))) continue;
    mkdirSync(join(partial, 'package'), { recursive: true });
    const spec = `${name}@${version}`;
    run(
      `fetching ${spec}`,
      ...npm('pack', spec, '--silent', '--ignore-scripts', '--pack-destination', partial),
    );
    const tarball = join(partial, readdirSync(partial).find(entry => entry.endsWith('.tgz')) ?? '');
    const found = `sha512-${createHash('sha512').update(readFileSync(tarball)).digest('base64')}`;
    if (found !== integrity) fail(`${spec} has integrity ${found}, expected ${integrity}`);
    run('', 'tar', ['-xzf', tarball, '-C', partial, ...files.map(file => `package/${file}`)]);
    rmSync(tarball);
    mkdirSync(dirname(directory), { recursive: true });
    rmSync(directory, { recursive: true, force: true });
    renameSync(join(partial, 'package'), directory);
  }
}

/** Runs a command, its output on stderr: stdout belongs to what comes after the set-up. */
function run(what, command, args, cwd = '.') {
  if (what !== '') process.stderr.write(`setup: ${what}\n`);
  const { status, signal, error } = spawnSync(command, args, { stdio: ['ignore', 2, 2], cwd });
  if (error !== undefined) fail(`${command} could not be run: ${error.message}`);
  if (status !== 0) fail(`${[command, ...args].join(' ')} failed (${signal ?? `exit status ${status}`})`);
}

/** @returns {never} */
function fail(message) {
  process.stderr.write(`setup: ${message.replaceAll('\n', '\nsetup: ')}\n`);
  process.exit(1);
}
