import { loadConfig } from '../config';
import { explainStartFault } from '../start-fault';

const USAGE = `Usage: npm run -s migration:adopt -- [--dry-run]

Migrates the database of version 0.1.1 to this version. Stop all servers and make a backup first.

  --dry-run  only check, and change nothing
`;

async function main(args: readonly string[]): Promise<number> {
  const isDryRun = args[0] === '--dry-run';
  if (args.length > (isDryRun ? 1 : 0)) {
    process.stderr.write(USAGE);
    return 2;
  }
  const config = loadConfig();
  try {
    // Imported late: the entities read the environment when they are imported, so it must be validated first.
    const { dataSourceOptions } = await import('../../ormconfig.js');
    const { adoptMigrations } = await import('../migrations/adopt.js');
    const done = await adoptMigrations(dataSourceOptions(config.DATABASE_URL), { isDryRun });
    process.stdout.write(`${done}\n`);
    return 0;
  } catch (error) {
    const explanation = explainStartFault(error, config);
    if (explanation === null) throw error;
    process.stderr.write(`${explanation}\n`);
    return 1;
  }
}

main(process.argv.slice(2)).then(
  (exitCode) => {
    process.exitCode = exitCode;
  },
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = error instanceof Error && error.name === 'ConfigError' ? 2 : 1;
  },
);
