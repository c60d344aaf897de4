import { QueryFailedError } from 'typeorm';
import { createLogger, markReported, requestContext } from './logger';
import { NestLogger } from './nest-logger';

const token = `berth_${'0f'.repeat(32)}`;

function captured() {
  const lines: string[] = [];
  const logger = createLogger({ LOG_LEVEL: 'trace' }, { write: (line: string) => void lines.push(line) });
  return { logger, lines, last: () => JSON.parse(lines.at(-1) ?? '{}') as Record<string, unknown> };
}

describe('the log', () => {
  it.each<[string, object, string]>([
    ['a field of its own', { token }, 'x'],
    ['a header', { headers: { authorization: `Bearer ${token}` } }, 'x'],
    ['the sentence', {}, `got ${token}`],
    ['a URL', { url: `/api/me?access_token=${token}` }, 'x'],
    ['an error', { err: new Error(`no ${token}`) }, 'x'],
    ['the cause of an error', { err: new Error('no', { cause: new Error(token) }) }, 'x'],
  ])('must never hold a token: in %s', (_where, fields, message) => {
    const { logger, lines } = captured();
    logger.info(fields, message);
    expect(lines.join('')).not.toContain(token.slice(12));
    expect(lines.join('')).toContain('[redacted]');
  });

  const FORGED = '\n{"level":"fatal","msg":"forged"}\r\n\u001b[2J\u009b31m\u0000\u007f\u2028\u202e\u2066';

  it.each<[string, object, string]>([
    ['a field', { path: FORGED }, 'x'],
    ['the name of a field', { [FORGED]: 'x' }, 'x'],
    ['the sentence', {}, FORGED],
    ['an error', { err: Object.assign(new Error(FORGED, { cause: new Error(FORGED) }), { code: FORGED }) }, 'x'],
  ])('must be one line of JSON that steers no terminal, whatever is written: in %s', (_where, fields, message) => {
    const { logger, lines, last } = captured();
    logger.info(fields, message);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^[^\n]*\n$/);
    // oxlint-disable-next-line no-control-regex -- none of them may be there
    expect(lines[0]?.slice(0, -1)).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/);
    expect(last()).toMatchObject({ level: 'info' });
    expect(JSON.stringify(last())).toContain(JSON.stringify(FORGED).slice(1, -1));
  });

  it('must not hold the parameters of a query that failed', () => {
    const { logger, lines } = captured();
    logger.error({ err: new QueryFailedError('INSERT', ['user’s secret'], new Error('unique')) }, 'x');
    expect(lines.join('')).not.toContain('secret');
  });

  it('has lines about a reported error, or with it as a cause, at the level debug', () => {
    const { logger, last } = captured();
    const error = new Error('ECONNREFUSED');
    const others = [new Error('failed', { cause: error }), new QueryFailedError('SELECT 1', [], error)];
    markReported(error);
    for (const err of [error, ...others]) {
      logger.error({ err }, 'x');
      expect(last()).toMatchObject({ level: 'debug', msg: 'x', err: { message: err.message } });
      new NestLogger(logger).warn({ err, msg: 'y' });
      expect(last()).toMatchObject({ level: 'debug', msg: 'y' });
    }
    logger.error({ err: new Error('ECONNREFUSED') }, 'x');
    expect(last()).toMatchObject({ level: 'error' });
  });

  it('must carry the request that it is about, and what becomes known of it', () => {
    const { logger, last } = captured();
    requestContext.run({ requestId: 'r1' }, () => {
      logger.info('first');
      expect(last()).toMatchObject({ level: 'info', msg: 'first', request_id: 'r1' });
      const context = requestContext.getStore();
      if (context) context.containerId = 'c1';
      logger.info('second');
    });
    expect(last()).toMatchObject({ request_id: 'r1', container_id: 'c1' });
    logger.info('third');
    expect(last()).not.toHaveProperty('request_id');
  });

  it('must take Nest’s own lines', () => {
    const { logger, last } = captured();
    const nest = new NestLogger(logger);
    nest.warn('careful', 'SomeService');
    expect(last()).toMatchObject({ level: 'warn', msg: 'careful', context: 'SomeService' });
    nest.error('broken', 'Error: broken\n  at x', 'SomeService');
    expect(last()).toMatchObject({
      level: 'error',
      msg: 'broken',
      stack: 'Error: broken\n  at x',
      context: 'SomeService',
    });
    nest.error('connect ECONNREFUSED', 'ExceptionHandler');
    expect(last()).toMatchObject({ level: 'debug' });
    nest.log('module loaded', 'InstanceLoader');
    expect(last()).toMatchObject({ level: 'debug' });
  });
});
