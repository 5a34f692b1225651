/**
 * Programs that cannot be frozen, and the reasons that are told.
 *
 * @module
 */
import test from 'ava';
import { type Reason, UnexecError } from '../../unexec/errors.ts';
import { freezeFixture } from './same-result.ts';

/** The reasons for which the fixture, with these arguments, is refused; none where it is not. */
export async function reasonsFor(fixture: string, ...kinds: readonly string[]): Promise<readonly Reason[]> {
  try {
    await freezeFixture(fixture, { args: [...kinds] });
  } catch (error) {
    if (error instanceof UnexecError && error.code === 'CANNOT_BE_KEPT') return error.reasons;
    throw error;
  }
  return [];
}

/** A test that the fixture, with one argument, is refused for one reason; `told` is how its title says that. */
export const refusedFor = (fixture: string, told: string) =>
  test.macro({
    exec: async (t, kind: string, code: string, what: RegExp, remedy: RegExp) => {
      const reasons = await reasonsFor(fixture, kind);
      t.is(reasons.length, 1);
      const [reason] = reasons;
      t.is(reason?.code, code);
      t.regex(reason?.what ?? '', what);
      t.regex(reason?.remedy ?? '', remedy);
    },
    title: (_, kind, code) => `freeze refuses ${kind} as ${code}, ${told}`,
  });
