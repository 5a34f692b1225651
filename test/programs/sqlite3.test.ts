import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { programTests } from '../support/program-tests.ts';
import { sandbox } from '../support/sandbox.ts';

const FILL =
  'WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 50000) INSERT INTO t SELECT i, i * i FROM n;';
const TABLE = 'CREATE TABLE t (a INTEGER PRIMARY KEY, b INTEGER); CREATE INDEX t_b ON t (b);';

programTests({
  name: 'sqlite3-in-memory',
  program: '/usr/bin/sqlite3',
  args: [
    '-interactive',
    '-cmd',
    TABLE,
    '-cmd',
    FILL,
    '-cmd',
    'CREATE VIRTUAL TABLE words USING fts5(word);',
    ':memory:',
  ],
  typed: `SELECT count(*), sum(b) FROM t;
SELECT a FROM t WHERE b = 144;
INSERT INTO words VALUES ('frozen water'), ('running water');
SELECT word FROM words WHERE words MATCH 'frozen';
BEGIN;
DELETE FROM t WHERE a > 100;
SELECT count(*) FROM t;
ROLLBACK;
SELECT count(*) FROM t;
.mode json
SELECT a, b FROM t WHERE a < 4;
SELECT * FROM none;
PRAGMA integrity_check;
.exit 3
`,
  status: 3,
  times: 50,
});

/** Each life finds the file as it was; what is asked changes nothing in it that the next one would see. */
const directory = sandbox('sqlite3');
const file = join(directory, 'data', 'base.sqlite');
mkdirSync(join(directory, 'data'), { mode: 0o777 });
execFileSync('/usr/bin/sqlite3', [file, `${TABLE} ${FILL}`]);
execFileSync('chmod', ['-R', 'a+rwX', join(directory, 'data')]);
cpSync(file, `${file}.copy`);

programTests({
  name: 'sqlite3-of-a-file',
  program: '/usr/bin/sqlite3',
  // Two lives at the same time wait for each other.
  args: ['-interactive', '-cmd', '.timeout 20000', '-cmd', 'SELECT count(*) FROM t;', file],
  typed: `SELECT a FROM t WHERE b = 144;
BEGIN;
UPDATE t SET b = -b WHERE a < 3;
SELECT a, b FROM t WHERE a < 4;
ROLLBACK;
BEGIN IMMEDIATE;
INSERT INTO t VALUES (100000, 5);
DELETE FROM t WHERE a = 100000;
COMMIT;
SELECT count(*) FROM t;
ATTACH '${file}.copy' AS other;
SELECT count(*) FROM main.t JOIN other.t USING (a);
PRAGMA integrity_check;
.exit 3
`,
  status: 3,
  times: 20,
});
