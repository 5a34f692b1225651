import { programTests } from '../support/program-tests.ts';

programTests({
  name: 'sbcl',
  program: '/usr/bin/sbcl',
  args: [
    '--noinform',
    '--no-sysinit',
    '--no-userinit',
    '--eval',
    `(progn
       (require :sb-md5)
       (defvar *table* (make-hash-table :test 'equal))
       (dotimes (i 20000) (setf (gethash (format nil "key ~d" i) *table*) (* i i)))
       (defun fib (n) (declare (fixnum n)) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2)))))
       (defclass point () ((x :initarg :x :accessor x)))
       (defmethod print-object ((point point) stream) (format stream "point at ~a" (x point))))`,
  ],
  typed: `(gethash "key 17" *table*)
(fib 25)
(gc :full t)
(make-instance 'point :x 3)
(defun twice (n) (* 2 n))
(twice (hash-table-count *table*))
(handler-case (error "oops") (error (condition) (princ-to-string condition)))
(let ((threads (loop for i below 4 collect (let ((n i)) (sb-thread:make-thread (lambda () (fib (+ n 10)))))))) (mapcar #'sb-thread:join-thread threads))
(sb-md5:md5sum-string "unexec")
(let ((bytes (loop repeat 50 collect (make-array 100000)))) (length bytes))
(gc)
(with-output-to-string (out) (sb-ext:run-program "/bin/echo" '("a child") :output out))
(sb-ext:exit :code 3)
`,
  status: 3,
  times: 30,
});
