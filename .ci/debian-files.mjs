/**
 * Debian packages that the tests read, and that are not installed: another release's C library, and sources of
 * programs. apt fetches them from the mirror that this machine is set up with, and holds them to its signature;
 * its lists and caches for that are its own. A package's directory under .cache/debian/SUITE appears when it is
 * whole, so that being there is enough the next time.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

/**
 * @param {(what: string, command: string, args: string[], cwd?: string) => void} run runs a command to its end
 * @param {(message: string) => never} fail
 */
export function fetchDebianFiles(run, fail) {
  const { suite, binaries, sources } = JSON.parse(readFileSync('.ci/debian-files.json', 'utf8'));
  const directory = resolve('.cache/debian', suite);
  const isMissing = name => !existsSync(join(directory, name));
  const names = [...binaries, ...sources.map(({ name }) => name)].filter(isMissing);
  if (names.length === 0) return;

  const partial = resolve(`.cache/partial-debian-${process.pid}`);
  process.once('exit', () => rmSync(partial, { recursive: true, force: true }));
  const options = ownLists(partial, suite, mirror(run, fail));
  run(`reading the package lists of ${suite}`, 'apt-get', [...options, '--quiet', 'update']);
  const fetch = (name, command, unpack) => {
    const at = join(partial, name);
    mkdirSync(at);
    run(`fetching ${name} of ${suite}`, 'apt-get', [...options, '--quiet', ...command, name], at);
    unpack(at, ending => join(at, readdirSync(at).find(entry => entry.endsWith(ending)) ?? ''));
    mkdirSync(directory, { recursive: true });
    renameSync(join(at, 'content'), join(directory, name));
  };
  for (const name of binaries.filter(isMissing)) {
    fetch(name, ['download'], (at, file) => run('', 'dpkg-deb', ['-x', file('.deb'), join(at, 'content')]));
  }
  for (const { name, build } of sources.filter(source => isMissing(source.name))) {
    fetch(name, ['--download-only', 'source'], (at, file) => {
      run('', 'dpkg-source', ['--no-check', '-x', file('.dsc'), join(at, 'content')]);
      if (build !== undefined) run(`building ${name}`, build[0], build.slice(1), join(at, 'content'));
    });
  }
}

/** Where this machine's own packages come from. */
function mirror(run, fail) {
  const format = ['--format', '$(REPO_URI)', 'Created-By: Packages', 'Label: Debian', 'Component: main'];
  const ask = () =>
    spawnSync('apt-get', ['indextargets', ...format], { encoding: 'utf8' }).stdout?.split('\n')[0];
  if (!ask() && process.getuid?.() === 0) run('updating the package lists', 'apt-get', ['--quiet', 'update']);
  return ask() || fail('apt has no package lists of Debian: run apt-get update as root first');
}

/** Options of apt-get with which it knows one release, and leaves the machine's own lists alone. */
function ownLists(directory, suite, uri) {
  const sources = join(directory, 'debian.sources');
  for (const path of ['lists/partial', 'cache/archives/partial', 'none']) {
    mkdirSync(join(directory, path), { recursive: true });
  }
  writeFileSync(sources, `Types: deb deb-src\nURIs: ${uri}\nSuites: ${suite}\nComponents: main\n`);
  const settings = {
    'Dir::Etc::SourceList': sources,
    'Dir::Etc::SourceParts': join(directory, 'none'),
    'Dir::State::Lists': join(directory, 'lists'),
    'Dir::Cache': join(directory, 'cache'),
    'APT::Sandbox::User': 'root',
    'Acquire::Retries': '3',
  };
  return Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}
