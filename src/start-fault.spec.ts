import { ConfigError, parseConfig } from './config';
import { explainStartFault } from './start-fault';

const config = parseConfig({ DATABASE_URL: 'postgres://berth:secret@db.example:5432/berth?sslmode=require' });
const fault = (fields: object, message = 'x') => Object.assign(new Error(message), fields);

describe('a start that failed', () => {
  it.each<[string, unknown, RegExp]>([
    [
      'the port is taken',
      fault({ syscall: 'listen', code: 'EADDRINUSE' }),
      /127\.0\.0\.1:8080 is in use .* choose another PORT/,
    ],
    ['the port is privileged', fault({ syscall: 'listen', code: 'EACCES' }), /choose a PORT of 1024 or more/],
    ['there is no such address', fault({ syscall: 'listen', code: 'EADDRNOTAVAIL' }), /choose another HOST/],
    ['the database is away', fault({ syscall: 'connect', code: 'ECONNREFUSED' }), /nothing listens there/],
    ['the password is wrong', fault({ code: '28P01' }), /the user or password is wrong/],
    ['there is no such database', fault({ code: '3D000' }), /create it first/],
    [
      'the database ends the connection meanwhile',
      fault({ name: 'QueryFailedError' }, 'Connection terminated unexpectedly'),
      /postgres:\/\/db\.example:5432\/berth cannot be used: Connection terminated unexpectedly; see that it works/,
    ],
    ['the database starts, too', fault({ code: '57P03' }, 'the database system is starting up'), /starting up; see/],
    [
      'the database is of an earlier version',
      fault({ name: 'MigrationError' }, 'run `npm run migration:adopt`'),
      /^run `npm run migration:adopt`$/,
    ],
    ['the settings are wrong', new ConfigError('TIERS_FILE: no'), /^TIERS_FILE: no$/],
    [
      'Docker is away',
      fault({ name: 'EngineError', code: 'docker_unavailable' }),
      /Docker at unix:.*start it, or set DOCKER_HOST/,
    ],
    ['another process is there', new ConfigError('another Berth process uses the database'), /another Berth process/],
  ])('must say what to do where %s', (_name, error, explanation) => {
    expect(explainStartFault(error, config)).toMatch(explanation);
  });

  it('must not print the password of the database', () => {
    expect(explainStartFault(fault({ code: '28P01' }), config)).toContain('postgres://db.example:5432/berth cannot');
  });

  it('must be shown as it is where nothing is known of it', () => {
    expect(explainStartFault(new TypeError('x is not a function'), config)).toBeNull();
    expect(explainStartFault('text', config)).toBeNull();
  });
});
