/**
 * Debian packages that the tests read, and that are not installed: another release's C library, kernels and programs
 * of another architecture, and sources of programs. apt fetches them from the mirror that this machine is set up with, and holds them to its signature;
 * its lists and caches for that are its own. A package's directory under .cache/debian/SUITE, NAME or
 * NAME-ARCHITECTURE, appears when it is whole, so that being there is enough the next time.
 *
 * Rows of debian-files.json: `suite` where it is not the usual one, `architecture` where it is not this machine's,
 * `follow` where the package is an empty one and the first that it depends on is meant (a kernel's name has its
 * version in it, and goes when the next one comes), `build` for what is to be made of a source.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

/**
 * @param {(what: string, command: string, args: string[], cwd?: string) => void} run runs a command to its end
 * @param {(message: string) => never} fail
 */
export function fetchDebianFiles(run, fail) {
  const { suite: usual, ...rows } = JSON.parse(readFileSync('.ci/debian-files.json', 'utf8'));
  const missing = list =>
    list
      .map(({ suite = usual, ...row }) => {
        const directory = [row.name, row.architecture].filter(part => part !== undefined).join('-');
        return { ...row, suite, target: resolve('.cache/debian', suite, directory) };
      })
      .filter(({ target }) => !existsSync(target));
  const binaries = missing(rows.binaries);
  const sources = missing(rows.sources);
  const suites = [...new Set([...binaries, ...sources].map(({ suite }) => suite))];
  if (suites.length === 0) return;

  const partial = resolve(`.cache/partial-debian-${process.pid}`);
  process.once('exit', () => rmSync(partial, { recursive: true, force: true }));
  const architectures = [...new Set(binaries.flatMap(({ architecture = [] }) => architecture))];
  const options = ownLists(partial, suites, architectures, mirror(run, fail));
  run(`reading the package lists of ${suites.join(' and ')}`, 'apt-get', [...options, '--quiet', 'update']);
  const fetch = (name, suite, command, at) => {
    mkdirSync(at);
    run(
      `fetching ${name} of ${suite}`,
      'apt-get',
      [...options, '--quiet', ...command, `${name}/${suite}`],
      at,
    );
    return ending => join(at, readdirSync(at).find(entry => entry.endsWith(ending)) ?? '');
  };
  const keep = (at, target) => {
    mkdirSync(dirname(target), { recursive: true });
    renameSync(join(at, 'content'), target);
  };
  for (const { name, suite, architecture, follow, target } of binaries) {
    const download = (wanted, at) => {
      const full = architecture === undefined ? wanted : `${wanted}:${architecture}`;
      return fetch(full, suite, ['download'], at)('.deb');
    };
    const at = join(partial, basename(target));
    let deb = download(name, at);
    if (follow === true) deb = download(firstDependency(deb, fail), join(at, 'followed'));
    run('', 'dpkg-deb', ['-x', deb, join(at, 'content')]);
    keep(at, target);
  }
  for (const { name, suite, build, target } of sources) {
    const at = join(partial, name);
    const file = fetch(name, suite, ['--download-only', 'source'], at);
    run('', 'dpkg-source', ['--no-check', '-x', file('.dsc'), join(at, 'content')]);
    if (build !== undefined) run(`building ${name}`, build[0], build.slice(1), join(at, 'content'));
    keep(at, target);
  }
}

/** The name of the first package that this one depends on. */
function firstDependency(deb, fail) {
  const { stdout } = spawnSync('dpkg-deb', ['--field', deb, 'Depends'], { encoding: 'utf8' });
  return /^[a-z0-9][a-z0-9+.-]*/.exec(stdout ?? '')?.[0] ?? fail(`${deb} depends on no package`);
}

/** Where this machine's own packages come from. */
function mirror(run, fail) {
  const format = ['--format', '$(REPO_URI)', 'Created-By: Packages', 'Label: Debian', 'Component: main'];
  const ask = () =>
    spawnSync('apt-get', ['indextargets', ...format], { encoding: 'utf8' }).stdout?.split('\n')[0];
  if (!ask() && process.getuid?.() === 0) run('updating the package lists', 'apt-get', ['--quiet', 'update']);
  return ask() || fail('apt has no package lists of Debian: run apt-get update as root first');
}

/**
 * Options of apt-get with which it knows these releases alone, of this machine's architecture and of these, and
 * leaves the machine's own lists alone.
 */
function ownLists(directory, suites, architectures, uri) {
  const sources = join(directory, 'debian.sources');
  for (const path of ['lists/partial', 'cache/archives/partial', 'none']) {
    mkdirSync(join(directory, path), { recursive: true });
  }
  writeFileSync(sources, `Types: deb deb-src\nURIs: ${uri}\nSuites: ${suites.join(' ')}\nComponents: main\n`);
  const settings = {
    'Dir::Etc::SourceList': sources,
    'Dir::Etc::SourceParts': join(directory, 'none'),
    'Dir::State::Lists': join(directory, 'lists'),
    'Dir::Cache': join(directory, 'cache'),
    'APT::Sandbox::User': 'root',
    'Acquire::Retries': '3',
  };
  const native = spawnSync('dpkg', ['--print-architecture'], { encoding: 'utf8' }).stdout?.trim();
  const known = [...new Set([native, ...architectures])].map(name => ['APT::Architectures::', name]);
  return [...Object.entries(settings), ...known].flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}
