import {
  type ArgumentsHost,
  BadRequestException,
  HttpException,
  ImATeapotException,
  NotFoundException,
} from '@nestjs/common';
import { QueryFailedError, QueryRunnerAlreadyReleasedError, QueryRunnerProviderAlreadyReleasedError } from 'typeorm';
import { DomainError, ErrorCode, ERRORS, invalidParameters } from './domain-error';
import { DomainErrorFilter, errorAnswer } from './domain-error.filter';
import type { Logger } from '../logging';

const id = 'request-1';
const fastifyError = (code: string, statusCode: number): Error =>
  Object.assign(new Error('/secret/path'), { name: 'FastifyError', code, statusCode });

/** A driver’s error, whose text is for nobody. */
const coded = (code: string): Error =>
  new QueryFailedError('SELECT secret', [], Object.assign(new Error('secret'), { code }));

/** The same without a code. */
const lost = (message: string): Error => new QueryFailedError('SELECT secret', [], new Error(message));

describe('the answer to a fault', () => {
  it.each(Object.keys(ERRORS) as ErrorCode[])('must be the one of the table for %s', (kind) => {
    const answer = errorAnswer(new DomainError(kind), id);
    expect(answer.status).toBe(ERRORS[kind].status);
    expect(answer.body).toEqual({ error: ERRORS[kind].message, code: kind, request_id: id });
  });

  it('must carry the details of invalid parameters', () => {
    const details = [{ field: 'memory_mb', message: 'too much', min: 1, max: 2, tier: 'free' }];
    expect(errorAnswer(invalidParameters(details), id).body).toEqual({
      error: 'invalid parameters',
      code: 'invalid_parameters',
      request_id: id,
      details,
    });
  });

  it('must carry the finer code and the fields of the fault, and never its cause', () => {
    const fault = new DomainError('start_failed', {
      code: 'docker_unavailable',
      fields: { operation: 'start' },
      cause: new Error('connect /var/run/docker.sock'),
    });
    expect(errorAnswer(fault, id)).toEqual({
      status: 500,
      headers: {},
      body: { error: 'failed to start container', code: 'docker_unavailable', request_id: id, operation: 'start' },
    });
  });

  it('must not show an error of the engine that no caller can act on', () => {
    const fault = new DomainError('command_failed', { code: 'program_exists' });
    expect(errorAnswer(fault, id)).toMatchObject({ status: 500, body: { code: 'docker_error' } });
  });

  it('must say when to come back in whole seconds', () => {
    const answer = (retryAfter: number) => errorAnswer(new DomainError('operation_in_progress', { retryAfter }), id);
    expect(answer(1.2).headers).toEqual({ 'retry-after': '2' });
    expect(answer(0).headers).toEqual({ 'retry-after': '1' });
  });

  it('must ask for a token with every 401', () => {
    expect(errorAnswer(new DomainError('unauthorized'), id).headers).toEqual({
      'www-authenticate': 'Bearer realm="berth"',
    });
    expect(errorAnswer(new HttpException('no', 401), id).headers).toEqual({
      'www-authenticate': 'Bearer realm="berth"',
    });
  });

  it.each<[string, unknown, number, string]>([
    ['a route that is not there', new NotFoundException('Cannot GET /api/x'), 404, 'route_not_found'],
    ['a bad request', new BadRequestException('Unexpected token'), 400, 'invalid_parameters'],
    ['a body that is too large', new HttpException('FST', 413), 413, 'body_too_large'],
    ['a foreign media type', new HttpException('FST', 415), 415, 'unsupported_media_type'],
    ['a teapot', new ImATeapotException(), 418, 'i_m_a_teapot'],
    ['a bad URL', fastifyError('FST_ERR_BAD_URL', 400), 400, 'invalid_parameters'],
    [
      'a client that hung up',
      Object.assign(new Error('aborted'), { code: 'ECONNRESET', statusCode: 400 }),
      400,
      'invalid_parameters',
    ],
  ])("must translate the frameworks' own: %s", (_name, thrown, status, code) => {
    const answer = errorAnswer(thrown, id);
    expect([answer.status, answer.body.code]).toEqual([status, code]);
    expect(Object.keys(answer.body)).toEqual(['error', 'code', 'request_id']);
  });

  it.each<[string, Error, string, Record<string, string>]>([
    ['PostgreSQL’s lock timeout', coded('55P03'), 'database_busy', { 'retry-after': '2' }],
    ['PostgreSQL’s statement timeout', coded('57014'), 'database_busy', { 'retry-after': '2' }],
    ['an ended idle transaction', coded('25P03'), 'database_busy', { 'retry-after': '2' }],
    ['a lock on SQLite’s file', coded('SQLITE_BUSY_SNAPSHOT'), 'database_busy', { 'retry-after': '2' }],
    ['a session that ended before a query', new QueryRunnerProviderAlreadyReleasedError(), 'database_busy', {}],
    ['a session that ended in a transaction', new QueryRunnerAlreadyReleasedError(), 'database_busy', {}],
    ['a session that PostgreSQL ended', coded('57P01'), 'database_unavailable', { 'retry-after': '5' }],
    ['a database that is not there', coded('ECONNREFUSED'), 'database_unavailable', { 'retry-after': '5' }],
    ['an answer that did not come', lost('Query read timeout'), 'database_unavailable', { 'retry-after': '5' }],
    [
      'a connection that was cut off',
      lost('Connection terminated unexpectedly'),
      'database_unavailable',
      { 'retry-after': '5' },
    ],
    ['a read-only transaction', coded('25006'), 'database_read_only', {}],
    ['a read-only file', coded('SQLITE_READONLY_DBMOVED'), 'database_read_only', {}],
    ['PostgreSQL’s full disk', coded('53100'), 'storage_full', {}],
    ['SQLite’s full disk', coded('SQLITE_FULL'), 'storage_full', {}],
    ['a file that cannot be opened', coded('SQLITE_CANTOPEN'), 'database_unavailable', { 'retry-after': '5' }],
    ['a file that cannot be written', coded('SQLITE_IOERR_WRITE'), 'database_unavailable', { 'retry-after': '5' }],
  ])('must say what the database cannot do: %s', (_name, thrown, code, headers) => {
    const answer = errorAnswer(thrown, id);
    expect(answer).toMatchObject({ status: 503, headers, body: { code, request_id: id } });
    expect(Object.keys(answer.body)).toEqual(['error', 'code', 'request_id']);
  });

  it.each<[string, unknown]>([
    ['a unique index of the database', coded('23505')],
    ['an unknown error', new Error('SELECT * FROM tokens')],
    ['an error of a client library that has a status', Object.assign(new Error('no such image'), { statusCode: 404 })],
    ['a string', 'SELECT'],
    ['nothing', undefined],
    ['an exception of the framework', new HttpException('SELECT', 500)],
  ])('must show nothing of %s', (_name, thrown) => {
    expect(errorAnswer(thrown, id)).toEqual({
      status: 500,
      headers: {},
      body: { error: 'internal error', code: 'internal_error', request_id: id },
    });
  });
});

describe('the log of errors', () => {
  it.each([
    [new Error('a bug'), 1],
    [new DomainError('code_failed'), 1],
    [new DomainError('container_not_found'), 0],
    // Of a sandbox that has ended, as E2B's clients expect it.
    [new HttpException('container is not running', 502), 0],
  ])('has a line for %s: %i', (thrown, lines) => {
    const error = jest.fn();
    const reply = { raw: { writableEnded: true } };
    const http = { getRequest: () => ({ id }), getResponse: () => reply };
    const host = { getType: () => 'http', switchToHttp: () => http } as unknown as ArgumentsHost;
    new DomainErrorFilter({ error } as unknown as Logger).catch(thrown, host);
    expect(error).toHaveBeenCalledTimes(lines);
  });
});
