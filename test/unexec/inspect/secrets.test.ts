/** What looks like a credential is found wherever it lies, and nothing of it is told. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { elfBytes } from '../../../formats/elf/index.ts';
import { FormatError, findSecrets, followAddress } from '../../../unexec/index.ts';
import { core } from '../../formats/elf/support/core.ts';
import { freezeProgram } from '../../support/freeze-program.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('secrets');
let files = 0;

/** A core whose memory is this, from 0x10000000 on. */
function fileWith(memory: Uint8Array): string {
  const path = join(directory, `core-${files++}`);
  writeFileSync(path, elfBytes(core([memory])));
  return path;
}

const find = (text: string) => findSecrets(fileWith(Buffer.from(`\0\0${text}\0\0`, 'latin1')));

const TOKEN = 'Zr8kQ2xW5vT9mB4nL7pJ1hG6fD3sA0yUcE8i';

/** Put together here, so that this file has none itself. */
const FOUND: readonly (readonly [what: string, kind: string, name: string, text: string, value: string])[] = [
  [
    'a key',
    'private key',
    'RSA PRIVATE KEY',
    `-----BEGIN RSA ${'PRIVATE'} KEY-----\nMIIEpAIBAAKCAQEA7bq8\n`,
    'MIIEpAIBAAKCAQEA7bq8',
  ],
  [
    'a key in JSON',
    'private key',
    'PRIVATE KEY',
    `"-----BEGIN ${'PRIVATE'} KEY-----\\nMIIEvQIBADANBgkqhkiG9"`,
    'MIIEvQIBADANBgkqhkiG9',
  ],
  ['a key id of AWS', 'token', 'AWS access key', `x AKIA${'QW7ZN2KD5RTLB8XM'} y`, 'AKIAQW7ZN2KD5RTLB8XM'],
  ['a token of GitHub', 'token', 'GitHub token', `"ghp_${TOKEN}"`, `ghp_${TOKEN}`],
  ['a header', 'token', 'authorization header', `Authorization: Bearer ${TOKEN}\r\n`, TOKEN],
  [
    'a URL',
    'password in a URL',
    'postgres://admin',
    `postgres://admin:${'s3cr3t-pw'}@db.example/x`,
    's3cr3t-pw',
  ],
  [
    'a variable of the environment',
    'environment',
    'MY_DB_PASSWORD',
    `A=b\0MY_DB_PASSWORD=${'correct'}horse\0`,
    'correcthorse',
  ],
  ['an assignment', 'assignment', 'db.password', `db.password = "${'hunter2'}!"`, 'hunter2!'],
  ['a key of JSON', 'assignment', 'api_key', `{"api_key": "${TOKEN}"}`, TOKEN],
];

for (const [what, kind, name, text, value] of FOUND) {
  test(`findSecrets() finds ${what} and tells where it is, not what`, async t => {
    const report = await find(text);
    t.is(report.count, 1, JSON.stringify(report.secrets));
    const [secret] = report.secrets;
    t.like(secret, { kind, name, length: value.length, region: 'PT_LOAD rw-' });
    const address = 0x10000000 + 2 + Buffer.from(text, 'latin1').indexOf(value);
    t.is(Number(secret?.address), address);
    t.true(value.startsWith(secret?.begins ?? '-') && (secret?.begins.length ?? 99) <= value.length / 4);
    t.false(JSON.stringify(report).includes(value));
  });
}

for (const text of [
  'usage: login --password=PASSWORD',
  'password=%s',
  'token = next_token(self.lexer)',
  'secret: the quick brown fox',
  `-----BEGIN RSA ${'PRIVATE'} KEY-----\0-----END RSA`,
  'AKIAXXXXXXXXXXXXXXXX',
  'https://user:%s@host/',
  'http://host:8080/a@b',
  'MY_PASSWORD=',
  'export const TOKEN = exports2.tokens.PLUS',
]) {
  test(`findSecrets() passes over ${JSON.stringify(text.slice(0, 40))}`, async t => {
    t.deepEqual((await find(text)).secrets, []);
  });
}

test('findSecrets() finds a credential once, wherever chunks end', async t => {
  const MIB = 1 << 20;
  const secret = ` ghp_${TOKEN} `;
  const entry = `\0API_TOKEN=${'q7'.repeat(3)}-xyz\0`;
  const memory = Buffer.alloc(6 * MIB, 'ab ');
  const at: number[] = [];
  const put = (offset: number, text: string, into: number): void => {
    memory.write(text, offset);
    at.push(0x10000000 + offset + into);
  };
  // The end of a chunk in each part of the text, and before and after the part that is looked at twice.
  for (const [i, distance] of [0, 1, 4, 20, 39, 640, 641, 700].entries()) {
    // The memory of the file begins a page into it, chunks where the memory does.
    if (i < 5) put((i + 1) * MIB - distance - (i === 0 ? 40 : 0), secret, 1);
    else put((i - 4) * MIB - distance - 200, entry, entry.indexOf('=') + 1);
  }
  const report = await findSecrets(fileWith(memory));
  t.deepEqual(
    report.secrets.map(({ address }) => Number(address)),
    at.sort((a, b) => a - b),
  );
});

test('findSecrets() finds what ends where zeros begin', async t => {
  const MIB = 1 << 20;
  const memory = Buffer.alloc(3 * MIB);
  memory.fill('x ', 0, MIB);
  memory.write(`\0SECRET_KEY=${'k9-Lm2'}`, MIB - '\0SECRET_KEY=k9-Lm2'.length);
  const { secrets } = await findSecrets(fileWith(memory));
  t.deepEqual(
    secrets.map(({ name, length }) => [name, length]),
    [['SECRET_KEY', 6]],
  );
});

test('findSecrets() reports a thousand at most, and counts all', async t => {
  const { count, secrets } = await find(
    Array.from({ length: 1500 }, (_, i) => `password="pw-${i}-x"`).join('\n'),
  );
  t.deepEqual([count, secrets.length], [1500, 1000]);
});

test('findSecrets() finds what a frozen program has in its memory', async t => {
  const { path } = await freezeProgram('/usr/bin/perl', join(directory, 'frozen'), {
    args: ['-e', `our $t = "ghp_" . reverse "${[...TOKEN].reverse().join('')}"; kill STOP => $$`],
    at: 'stop',
  });
  const { secrets } = await findSecrets(path);
  const inHeap = secrets.find(({ name, region }) => name === 'GitHub token' && region === 'heap.rw-');
  t.truthy(inHeap, JSON.stringify(secrets));
  t.is(followAddress(path, BigInt(inHeap?.address ?? 0)).places[0]?.offset, inHeap?.offset);
});

test('findSecrets() stops when it is told to, and refuses what is no ELF or Mach-O file', async t => {
  const signal = AbortSignal.abort(new Error('enough'));
  await t.throwsAsync(findSecrets('/bin/true', { signal }), { message: 'enough' });
  const text = join(directory, 'text');
  writeFileSync(text, 'password="hunter2!"');
  await t.throwsAsync(findSecrets(text), { instanceOf: FormatError, code: 'UNKNOWN_FORMAT' });
});
