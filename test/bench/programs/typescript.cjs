// The benchmark's node: start | freeze, and node's own snapshot (see ../programs.ts).
const v8 = require('node:v8');
const ts = require('typescript');

const SOURCE = `
  interface Shape { readonly kind: 'circle' | 'square'; readonly size: number }
  export const area = (shape: Shape): number => shape.kind === 'circle' ? Math.PI * shape.size ** 2 : shape.size ** 2;
  export async function* numbers(limit: number) { for (let i = 0; i < limit; i++) yield i; }
`;

function compile() {
  const { outputText } = ts.transpileModule(SOURCE, {
    compilerOptions: { target: ts.ScriptTarget.ES2017, module: ts.ModuleKind.CommonJS },
  });
  return outputText;
}

function work() {
  const text = compile();
  process.stdout.write(`${text.length} ${text.includes('__asyncGenerator')}\n`);
}

if (v8.startupSnapshot.isBuildingSnapshot()) {
  compile();
  v8.startupSnapshot.setDeserializeMainFunction(work);
} else {
  if (process.argv[2] === 'freeze') {
    compile();
    process.kill(process.pid, 'SIGSTOP');
  }
  work();
}
