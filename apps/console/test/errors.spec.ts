import { readFileSync } from 'node:fs';
import { BerthError } from '@berth/client';
import { apiErrorCodes } from '../../../packages/client/test/error-codes.ts';
import { inWords, reasonInWords } from '../src/words/errors.ts';

/** The console makes no request that these answer, or the API's own message says all. */
const NO_WORDS_NEEDED: readonly string[] = [
  'aborted',
  'ambiguous_id',
  'application_failed',
  'broken_off',
  'claim_lost',
  'code_failed',
  'code_refused',
  'code_unavailable',
  'command_failed',
  'create_failed',
  'delete_failed',
  'execution_not_found',
  'expectation_failed',
  'file_access_failed',
  'idempotency_key_reused',
  'invalid_parameters',
  'method_not_allowed',
  'misdirected_request',
  'not_ready',
  'output_endless',
  'output_too_large',
  'pause_failed',
  'port_closed',
  'process_not_ended',
  'range_not_satisfiable',
  'request_header_fields_too_large',
  'request_timeout',
  'restore_failed',
  'resume_failed',
  'route_not_found',
  'start_failed',
  'stats_failed',
  'status_not_reached',
  'status_unreachable',
  'stop_failed',
  'terminal_failed',
  'timed_out',
  'unknown_session',
  'unknown_transport',
  'unsupported_media_type',
  'unsupported_protocol',
  'update_failed',
  'upgrade_required',
];

describe('the words of the console', () => {
  it('have a sentence for each code of the API whose message does not say all', () => {
    const message = 'the message of the API';
    const unsaid = apiErrorCodes().filter(
      (code) => inWords(new BerthError({ status: 409, code, message })) === 'The message of the API.',
    );
    expect(unsaid.sort()).toEqual(NO_WORDS_NEEDED);
  });

  it('have the reason of each snapshot that failed', () => {
    const source = readFileSync('src/containers/rows/snapshot.repository.ts', 'utf8');
    const table = /^const FAULTS: .*\n((?: {2}\w+: .*\n)+)/m.exec(source)?.[1] ?? '';
    const reasons = [...table.matchAll(/^ {2}(\w+):/gm)].map(([, reason = '']) => reason);
    expect(reasons).toContain('files_missing');
    expect(
      reasons.filter((reason) => reason.includes('_') && reasonInWords(reason) === reason.replaceAll('_', ' ')),
    ).toEqual([]);
  });
});
