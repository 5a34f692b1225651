#!/usr/bin/env node
/**
 * The `unexec` command.
 *
 * @module
 */
import { runCommand } from './run.ts';

// Whoever reads our output may go away; what the command does goes on, and its status tells.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

process.exitCode = await runCommand(process.argv.slice(2));
