import { ConfigError, loadConfig } from '../config';
import { explainStartFault } from '../start-fault';

async function main(): Promise<number> {
  const config = loadConfig();
  try {
    // Imported late: the entities read the environment when they are imported, so it must be validated first.
    const { runTokenCommand } = await import('./token-command.js');
    const { stdout, stderr, exitCode } = await runTokenCommand(process.argv.slice(2), config);
    process.stderr.write(stderr);
    process.stdout.write(stdout);
    return exitCode;
  } catch (error) {
    const explanation = explainStartFault(error, config);
    if (explanation === null) throw error;
    process.stderr.write(`${explanation}\n`);
    return 1;
  }
}

main().then(
  (exitCode) => {
    process.exitCode = exitCode;
  },
  (error: unknown) => {
    const expected = error instanceof ConfigError;
    process.stderr.write(
      `${error instanceof Error ? ((expected ? null : error.stack) ?? error.message) : String(error)}\n`,
    );
    process.exitCode = expected ? 2 : 1;
  },
);
