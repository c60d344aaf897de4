import { BerthError } from '@berth/client';
import { apiErrorCodes } from '../../client/test/error-codes.ts';
import { adviceOn } from '../src/advice.ts';

/** Codes without advice, beside failures of the server, whose advice is to try again. */
const SELF_EXPLANATORY: readonly string[] = [
  'aborted',
  'body_too_large',
  'broken_off',
  'claim_lost',
  'code_refused',
  'directory_not_empty',
  'docker_error',
  'idempotency_key_reused',
  'internal_error',
  'invalid_parameters',
  'method_not_allowed',
  'name_in_use',
  'openid_disabled',
  'openid_unavailable',
  'output_endless',
  'output_too_large',
  'path_protected',
  'port_closed',
  'process_not_ended',
  'range_not_satisfiable',
  'request_header_fields_too_large',
  'request_timeout',
  'sign_in_code_refused',
  'sign_in_expired',
  'sign_in_refused',
  'stdin_closed',
  'timed_out',
  'unknown_session',
  'unknown_transport',
  'unsupported_media_type',
  'unsupported_protocol',
  'upgrade_required',
];

describe('the advice on an error', () => {
  it('has advice on each code of the API that does not explain itself', () => {
    const without = apiErrorCodes().filter((code) => {
      return adviceOn(new BerthError({ status: 409, code, message: 'refused' }), {}) === '';
    });
    expect(without.filter((code) => !code.endsWith('_failed')).sort()).toEqual(SELF_EXPLANATORY);
  });
});
