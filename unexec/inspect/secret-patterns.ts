/**
 * What credentials look like, in text of one byte a character. Every pattern is bounded: none matches more than
 * `MAX_MATCH` characters, so that a stream can be searched a chunk at a time.
 *
 * Facts: RFC 7468 (textual encodings of keys), RFC 7519 (JSON Web Tokens), RFC 3986 3.2.1 (user information in a URL),
 * the prefixes that GitHub, GitLab, Slack, Stripe, npm, PyPI, Google and AWS document for their tokens.
 *
 * @module
 */
import type { FoundSecret } from './model.ts';

export interface SecretPattern {
  readonly kind: FoundSecret['kind'];
  /** What it is called, where the match has no group `name`. */
  readonly name: string;
  /** Group `value` is what nobody may see; group `name`, where there is one, is what it is called. */
  readonly pattern: RegExp;
  /** What must be before the match: group `name` is the first part of what it is called. To begin there would be slow. */
  readonly before?: RegExp;
  /** Whether the match is one after all. */
  readonly accept?: (value: string, name: string) => boolean;
}

/** Characters of the longest match. */
export const MAX_MATCH = 640;
/** Characters before a match that are looked at. */
export const MAX_BEFORE = 64;

const MOST = 256;
const CREDENTIAL = 'passw(?:or)?d|passphrase|secret|token|api_?key|access_?key|private_?key|credentials?';

const token = (name: string, value: string): SecretPattern => ({
  kind: 'token',
  name,
  pattern: new RegExp(`(?<![0-9A-Za-z_-])(?<value>${value})(?![0-9A-Za-z_-])`, 'dg'),
  accept: looksRandom,
});

/** The first that matches at a place counts. */
export const SECRET_PATTERNS: readonly SecretPattern[] = [
  {
    // Programs that write keys have the line itself as a constant: there must be a key behind it.
    kind: 'private key',
    name: 'private key',
    pattern:
      /-----BEGIN (?<name>(?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?)-----(?:\r?\n|\\n)(?:[A-Za-z-]{1,30}: [^\n]{0,100}\r?\n){0,3}(?:\r?\n)?(?<value>[0-9A-Za-z+/=]{16,76})/dg,
  },
  token('AWS access key', '(?:AKIA|ASIA)[0-9A-Z]{16}'),
  token('GitHub token', 'gh[oprsu]_[0-9A-Za-z]{36,255}'),
  token('GitHub token', 'github_pat_[0-9A-Za-z_]{22,255}'),
  token('GitLab token', 'glpat-[0-9A-Za-z_-]{20,64}'),
  token('Slack token', 'xox[abeoprs]-[0-9A-Za-z-]{10,200}'),
  token('Stripe key', '[rs]k_live_[0-9A-Za-z]{16,128}'),
  token('Google API key', 'AIza[0-9A-Za-z_-]{35}'),
  token('npm token', 'npm_[0-9A-Za-z]{36}'),
  token('PyPI token', 'pypi-AgE[0-9A-Za-z_-]{50,255}'),
  token('JSON Web Token', 'eyJ[0-9A-Za-z_-]{10,200}\\.eyJ[0-9A-Za-z_-]{10,200}\\.[0-9A-Za-z_-]{16,200}'),
  {
    kind: 'token',
    name: 'authorization header',
    pattern: /\b[Aa]uthorization: ?(?:Bearer|Basic|token) (?<value>[0-9A-Za-z._~+/=-]{12,256})/dg,
  },
  {
    kind: 'password in a URL',
    name: 'password in a URL',
    pattern:
      /\b(?<name>[a-z][a-z0-9+.-]{1,20}:\/\/[^\s:@/\0"'<>%$({]{1,64}):(?<value>[^\s:@/\0"'<>%$({]{3,128})@(?=[0-9A-Za-z[])/dg,
    accept: isNoPlaceholder,
  },
  {
    // As environ(7) has them in memory: after a zero, up to a zero.
    kind: 'environment',
    name: 'environment',
    pattern: new RegExp(
      `(?<name>(?:${CREDENTIAL.toUpperCase()})[A-Z0-9_]{0,20})=(?<value>[!-~]{6,${MOST}})(?=\\0)`,
      'dg',
    ),
    before: /(?:\0|^)(?<name>[A-Z0-9_]{0,40})$/,
    accept: isNoPlaceholder,
  },
  {
    kind: 'assignment',
    name: 'assignment',
    pattern: new RegExp(
      `(?<name>${CREDENTIAL.replaceAll('_?', '[_-]?')})["']?(?: {0,2}=>? {0,2}["']?|: ?["'])(?<value>[^\\s"'\\0<>,;(){}[\\]&|\\\\]{6,${MOST}})(?=["'\\s\\0;,&]|$)`,
      'dgi',
    ),
    before: /(?<name>[0-9A-Za-z_.-]{0,40})$/,
    accept: (value, name) => isNoPlaceholder(value) && isNoIdentifier(value, name),
  },
];

/** `%s`, `${PASSWORD}`, `********`, text in a language that is none of ours: bytes that are not ASCII. */
function isNoPlaceholder(value: string): boolean {
  if (/[^!-~]/.test(value) || /^[%$@]/.test(value) || /%[sdvq]/.test(value)) return false;
  return new Set(value).size > 2;
}

/** `password = self.password`, `token=next_token`: a program, not a value. A digit makes a word look like a value. */
function isNoIdentifier(value: string, name: string): boolean {
  if (value.toLowerCase() === name.toLowerCase()) return false;
  if (/^[A-Za-z_$][\w$]*(?:(?:\.|::|->)[A-Za-z_$][\w$]*)+$/.test(value)) return false;
  return /\d/.test(value) ? !/^0x[0-9a-f]+$|^\d+$/i.test(value) : /[^A-Za-z_.:>-]/.test(value);
}

/** Not `AKIAXXXXXXXXXXXXXXXX`, nor the alphabet. */
function looksRandom(value: string): boolean {
  const tail = value.slice(-16);
  return new Set(tail).size >= 6 && !/0123456789|abcdefghij/i.test(value);
}
