import { join } from 'node:path';
import { programTests } from '../support/program-tests.ts';
import { ROOT } from '../support/sandbox.ts';

programTests({
  name: 'node',
  program: process.execPath,
  args: [
    '-e',
    `const ts = require(${JSON.stringify(join(ROOT, 'node_modules/typescript'))});
     require('fs').writeSync(1, 'loaded ' + ts.version + '\\n');
     setTimeout(() => {
       process.kill(process.pid, 'SIGSTOP');
       setTimeout(async () => {
         const source = 'enum Colour { Red, Green }; const f = <T,>(x: T): T => x; export default f<Colour>(Colour.Red);';
         console.log(ts.transpileModule(source, { compilerOptions: { module: 'CommonJS' } }).outputText);
         const file = ts.createSourceFile('a.ts', source, ts.ScriptTarget.Latest);
         console.log(file.statements.length, require('zlib').gzipSync(source).length);
         const text = await require('fs/promises').readFile('/etc/hostname', 'utf8');
         console.log(text.length > 0, require('child_process').execSync('echo a child').toString());
         console.log(require('crypto').createHash('sha256').update(source).digest('hex'));
         await new Promise(done => setTimeout(done, 5));
         try { null.x } catch (error) { console.log(error instanceof TypeError) }
       }, 1);
     }, 20);`,
  ],
  times: 60,
});
