import type { Config } from './config';
import { databaseFault, isConnectionTimeout } from './errors';

const DATABASE_REFUSALS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'there is no such host',
  EAI_AGAIN: 'the name of the host cannot be resolved',
  ETIMEDOUT: 'it does not answer',
  '28P01': 'the user or password is wrong',
  '28000': 'the user may not connect',
  '3D000': 'there is no such database; create it first',
  '42501': 'the user may not create tables in it',
  SQLITE_CANTOPEN: 'the file cannot be opened; check that its folder can be written',
  SQLITE_READONLY: 'the file cannot be written',
  SQLITE_NOTADB: 'the file is not an SQLite database',
  SQLITE_BUSY: 'another process holds it',
};

/**
 * Explains to an operator why the server did not start; null if the fault is unknown and the whole error is worth
 * reading.
 */
export function explainStartFault(error: unknown, config: Config): string | null {
  if (!(error instanceof Error)) return null;
  const { code, syscall } = error as { code?: unknown; syscall?: unknown };
  if (syscall === 'listen' && typeof code === 'string') return explainListen(code, config);
  if (error.name === 'ConfigError' || error.name === 'MigrationError') return error.message;
  if (error.name === 'EngineError') {
    if (code !== 'docker_unavailable') return error.message;
    return `Docker at ${config.DOCKER_HOST} cannot be used (${error.message}); start it, or set DOCKER_HOST`;
  }
  if (syscall === 'mkdir') return `the folder of the database ${config.DATABASE_URL} cannot be made (${String(code)})`;
  const known = DATABASE_REFUSALS[isConnectionTimeout(error) ? 'ETIMEDOUT' : typeof code === 'string' ? code : ''];
  // Or the database failed in the middle of the start.
  const reason = known ?? (databaseFault(error) && `${error.message}; see that it works, then start Berth again`);
  return reason === null ? null : `the database ${withoutPassword(config.DATABASE_URL)} cannot be used: ${reason}`;
}

function explainListen(code: string, { HOST, PORT }: Config): string {
  const address = `${HOST}:${String(PORT)}`;
  switch (code) {
    case 'EADDRINUSE':
      return `${address} is in use by another process; stop it, or choose another PORT`;
    case 'EACCES':
      return `${address} may not be opened by this user; choose a PORT of 1024 or more`;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return `this machine has no address ${HOST}; choose another HOST`;
    default:
      return `${address} cannot be opened (${code})`;
  }
}

/** The connection string without user, password and parameters. */
function withoutPassword(databaseUrl: string): string {
  return databaseUrl.replace(/^(postgres(?:ql)?:\/\/)[^@/]*@/, '$1').replace(/\?.*$/, '');
}
