/** QuickJS, restarted: a runtime of 90,000 lines, built from Debian's source package (.ci/debian-files.json). */
import { debianFiles, interpreter, restartTests } from '../support/restart-tests.ts';

const QUICKJS = debianFiles('quickjs');

restartTests({
  name: 'javascript',
  sources: [`-I${QUICKJS}`, interpreter('javascript.c'), `${QUICKJS}/libquickjs.a`, '-lm', '-ldl'],
  load: `
    var words = new Map();
    for (let i = 1; i <= 15000; i++) words.set('word ' + i, { number: i, text: 'word ' + i });
    class Shape { constructor(side) { this.side = side } get area() { return this.side ** 2 } }
    class Square extends Shape { toString() { return 'square of ' + this.area } }
    var squares = Array.from({ length: 1000 }, (_, i) => new Square(i));
    var counter = (function* () { for (let i = 1; ; i++) yield i })();
    counter.next();
    var numbers, owners = [words, squares];
    rehash.push(() => (numbers = new Map(owners.map((owner, i) => [owner, i]))));
    rehash[0]();
    var later = [], big = 2n ** 200n, weak = new WeakRef(squares[3]), pattern = /(\\w+) (\\d+)/u;
    var typed = new Float64Array([1.5, 2.5]), tag = Symbol('tag');
    Promise.resolve(7).then(value => later.push(value));`,
  use: `
    print(words.get('word 777').number, String(squares[12]), counter.next().value, later, numbers.get(squares));
    print(pattern.exec('word 42')[2], big, weak.deref() === squares[3], typed[1], tag.toString());
    for (let i = 1; i <= 7000; i++) words.delete('word ' + i);
    for (let i = 0; i < 4000; i++) words.set({}, [i]);
    print(words.size, JSON.stringify(squares.slice(1, 3)), squares.map(String).sort().at(-1), eval('1 + 1'));
    try { null.x } catch (error) { print(error.message) }
    try { (function deep() { deep() })() } catch (error) { print(error.message) }
    (async () => { await 0; print('later', Math.random() < 1, new Date(0).toISOString()) })()`,
  change: `counter.next(); counter.next(); words.get('word 777').number = -1`,
});
