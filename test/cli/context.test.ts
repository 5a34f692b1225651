import test from 'ava';
import { mannerOf } from '../../cli/context.ts';

test('mannerOf() sees its options before -- only, alone or together', t => {
  t.deepEqual(mannerOf(['a', 'b', '--', '--json', '-q', '-v']), {
    json: false,
    quiet: false,
    verbose: false,
  });
  t.deepEqual(mannerOf(['--json', '-qv']), { json: true, quiet: true, verbose: true });
  t.deepEqual(mannerOf(['--verbose']), { json: false, quiet: false, verbose: true });
});
