/**
 * Lists of offsets in a segment, as one.
 *
 * @module
 */

/** Offsets of several ascending lists as one, each once. */
export function mergeOffsets(...lists: readonly ArrayLike<number>[]): Float64Array {
  const present = lists.filter(list => list.length > 0);
  const [only] = present;
  if (present.length === 1 && only instanceof Float64Array) return only;
  const all = new Float64Array(present.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const list of present) {
    all.set(list, end);
    end += list.length;
  }
  all.sort();
  return all.filter((offset, i) => i === 0 || offset !== all[i - 1]);
}
