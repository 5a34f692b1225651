import { programTests } from '../support/program-tests.ts';

programTests({
  name: 'clisp',
  program: '/usr/bin/clisp',
  args: [
    '-q',
    '-norc',
    '-x',
    `(progn
       (defvar *table* (make-hash-table :test 'equal))
       (dotimes (i 5000) (setf (gethash (format nil "key ~d" i) *table*) (* i i)))
       (defun fib (n) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2)))))
       (compile 'fib)
       (defclass point () ((x :initarg :x :accessor x))))`,
    '-repl',
  ],
  typed: `(gethash "key 17" *table*)
(fib 18)
(progn (gc) 'collected)
(x (make-instance 'point :x 3))
(expt 3 200)
(handler-case (error "oops") (error (condition) (princ-to-string condition)))
(let ((bytes (loop repeat 50 collect (make-array 10000)))) (length bytes))
(progn (gc) (hash-table-count *table*))
(with-open-stream (in (ext:run-program "/bin/echo" :arguments '("a child") :output :stream)) (read-line in))
(ext:exit 3)
`,
  status: 3,
  times: 50,
});
