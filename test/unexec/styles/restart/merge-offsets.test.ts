import test from 'ava';
import { mergeOffsets } from '../../../../unexec/styles/restart/merge-offsets.ts';

test('mergeOffsets() merges ascending lists, each offset once', t => {
  t.deepEqual([...mergeOffsets([1, 5, 9], Float64Array.of(2, 5), [], [0, 10])], [0, 1, 2, 5, 9, 10]);
  t.deepEqual([...mergeOffsets()], []);
  t.deepEqual([...mergeOffsets([], [3, 3, 4])], [3, 4]);
  const only = Float64Array.of(1, 2);
  t.is(mergeOffsets([], only), only);
});
