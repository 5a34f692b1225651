import { programTests } from '../support/program-tests.ts';

programTests({
  name: 'bash',
  program: '/usr/bin/bash',
  args: [
    '--norc',
    '-c',
    `declare -A seen
     greet() { local name=$1; echo "hello $name \${seen[$name]}"; }
     for i in {1..500}; do seen[key$i]=$((i * i)); done
     echo loaded "\${#seen[@]}" | cat
     kill -STOP $$
     echo resumed
     greet key17
     printf '%s\\n' "\${!seen[@]}" | sort | tail -n 1
     result=$(echo in a child | tr a-z A-Z); echo "$result"
     trap 'echo trapped' USR1; kill -USR1 $BASHPID; :
     coproc { read line; echo "coprocess: $line"; }
     echo word >&"\${COPROC[1]}"; read answer <&"\${COPROC[0]}"; echo "$answer"; wait`,
  ],
  times: 200,
});
