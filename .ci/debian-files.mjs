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
import { dirname, join, resolve } from 'node:path';

/**
 * @param {(what: string, command: string, args: string[], cwd?: string) => void} run runs a command to its end
 * @param {(message: string) => never} fail
 */
export function fetchDebianFiles(run, fail) {
  const { suite: usual, ...rows } = JSON.parse(readFileSync('.ci/debian-files.json', 'utf8'));
  const missing = list =>
    list
      .map(({ suite = usual, ...row }) => ({
        ...row,
        suite,
        target: resolve('.cache/debian', suite, row.name),
      }))
      .filter(({ target }) => !existsSync(target));
  const binaries = missing(rows.binaries.map(name => ({ name })));
  const sources = missing(rows.sources);
  const suites = [...new Set([...binaries, ...sources].map(({ suite }) => suite))];
  if (suites.length === 0) return;

  const partial = resolve(`.cache/partial-debian-${process.pid}`);
  process.once('exit', () => rmSync(partial, { recursive: true, force: true }));
  const options = ownLists(partial, suites, mirror(run, fail));
  run(`reading the package lists of ${suites.join(' and ')}`, 'apt-get', [...options, '--quiet', 'update']);
  const fetch = ({ name, suite, target }, command, unpack) => {
    const at = join(partial, name);
    mkdirSync(at);
    run(
      `fetching ${name} of ${suite}`,
      'apt-get',
      [...options, '--quiet', ...command, `${name}/${suite}`],
      at,
    );
    unpack(at, ending => join(at, readdirSync(at).find(entry => entry.endsWith(ending)) ?? ''));
    mkdirSync(dirname(target), { recursive: true });
    renameSync(join(at, 'content'), target);
  };
  for (const row of binaries) {
    fetch(row, ['download'], (at, file) => run('', 'dpkg-deb', ['-x', file('.deb'), join(at, 'content')]));
  }
  for (const row of sources) {
    const { name, build } = row;
    fetch(row, ['--download-only', 'source'], (at, file) => {
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

/** Options of apt-get with which it knows these releases alone, and leaves the machine's own lists alone. */
function ownLists(directory, suites, uri) {
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
  return Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}
