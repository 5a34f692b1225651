import { programTests } from '../support/program-tests.ts';

programTests({
  name: 'emacs',
  program: '/usr/bin/emacs',
  args: [
    '-Q',
    '--batch',
    '--eval',
    `(progn
       (require 'org)
       (message "loaded %s" (featurep 'org))
       (signal-process (emacs-pid) 'SIGSTOP)
       (princ "resumed\\n")
       (garbage-collect)
       (with-temp-buffer
         (org-mode)
         (insert "* One\\n** TODO Two :tag:\\n| a | 1 |\\n| b | 20 |\\n")
         (goto-char (point-min))
         (search-forward "| a")
         (org-table-align)
         (princ (buffer-string))
         (princ (org-map-entries (lambda () (org-get-heading t t)) nil nil)))
       (terpri)
       (princ (shell-command-to-string "echo a child"))
       (princ (condition-case error (car 1) (error (format "%S\\n" error)))))`,
  ],
  env: ['HOME=/tmp'],
  times: 50,
});
