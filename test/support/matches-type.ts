/**
 * Whether JSON is what a TypeScript interface says: the compiler is asked, which tells keys that are missing, keys
 * that the interface does not have, and values of other types.
 *
 * @module
 */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { ROOT } from './sandbox.ts';

/** What is wrong; nothing where the values are of the types. `module` is a path from the root of the checkout. */
export function typeErrors(
  module: string,
  values: readonly (readonly [type: string, json: string])[],
): string[] {
  const names = [...new Set(values.map(([type]) => type))];
  const path = join(ROOT, `test/.matches-type-${process.pid}.ts`);
  const lines = values.map(([type, json], i) => `export const value${i}: ${type} = ${json};`);
  writeFileSync(path, [`import type { ${names.join(', ')} } from '../${module}';`, ...lines].join('\n'));
  try {
    const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile);
    const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, ROOT);
    const program = ts.createProgram([path], { ...options, noEmit: true, incremental: false });
    const source = program.getSourceFile(path);
    return program
      .getSemanticDiagnostics(source)
      .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
  } finally {
    rmSync(path);
  }
}
