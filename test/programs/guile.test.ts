import { programTests } from '../support/program-tests.ts';

programTests({
  name: 'guile',
  program: '/usr/bin/guile',
  args: [
    '--no-auto-compile',
    '-c',
    `(use-modules (srfi srfi-1) (ice-9 regex) (ice-9 match) (ice-9 threads))
     (define table (make-hash-table))
     (for-each (lambda (n) (hash-set! table n (* n n n))) (iota 20000))
     (display "loaded") (newline) (force-output)
     (kill (getpid) SIGSTOP)
     (display "resumed") (newline)
     (display (fold + 0 (hash-map->list (lambda (key value) value) table))) (newline)
     (gc)
     (display (length (filter even? (iota 100000)))) (newline)
     (display (regexp-substitute/global #f "[aeiou]" "unexec lives" 'pre "*" 'post)) (newline)
     (display (par-map (lambda (n) (* n n)) (iota 20))) (newline)
     (display (catch 'oops (lambda () (throw 'oops 42)) (lambda (key value) (list key value)))) (newline)
     (display (call-with-current-continuation (lambda (k) (dynamic-wind (const #f) (lambda () (k 'out)) (const #f)))))
     (newline)`,
  ],
  env: ['HOME=/nonexistent', 'GUILE_AUTO_COMPILE=0'],
  times: 100,
});
