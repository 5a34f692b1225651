;;; emacs.el --- The benchmark's emacs: start | freeze, and its own dump  -*- lexical-binding: t -*-

;; Commentary: see ../programs.ts. `freeze' is also what forks, with ../fork-at-stop.c preloaded.

;;; Code:
(require 'org)
(require 'org-element)
(require 'gnus)
(require 'gnus-sum)

(defun bench-work ()
  "Parse a small document and return what was found."
  (with-temp-buffer
    (insert "* TODO Heading :tag:\nText with *bold*.\n** Second\n| a | b |\n")
    (delay-mode-hooks (org-mode))
    (let ((tree (org-element-parse-buffer)))
      (format "%S %s\n"
              (org-element-map tree 'headline
                (lambda (headline) (org-element-property :raw-value headline)))
              (length (org-element-map tree 'bold #'identity))))))

(defun bench-dump (file)
  "Write Emacs' own dump to FILE.
As loadup.el does, each native unit is named by a pair of relative file names first: a dump without
that dies when it is loaded (`incoherent dumped eln file')."
  (bench-work)
  (when (featurep 'native-compile)
    (mapatoms
     (lambda (symbol)
       (let ((function (symbol-function symbol)))
         (when (subr-native-elisp-p function)
           (let* ((unit (subr-native-comp-unit function))
                  (name (native-comp-unit-file unit)))
             (when (stringp name)
               (let ((relative (file-relative-name (expand-file-name name) invocation-directory)))
                 (native-comp-unit-set-file unit (cons relative relative)))))))))
  (dump-emacs-portable file)))

(defun bench-run (mode)
  "Do the work as MODE says."
  (when (equal mode "freeze")
    (bench-work)
    (signal-process (emacs-pid) 'SIGSTOP))
  (princ (bench-work))
  (kill-emacs 0))
;;; emacs.el ends here
