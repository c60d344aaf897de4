import { ApiPropertyOptional } from '@nestjs/swagger';
import { Choice, Count, Text } from '../api-fields';
import { ERRORS, FAILURE_REASONS } from './domain-error';

/** Every `code` that an answer may have, without duplicates. */
const ERROR_CODES: readonly string[] = [...new Set([...Object.keys(ERRORS), ...FAILURE_REASONS])].filter(
  (code) => code !== 'client_gone',
);

class ErrorDetail {
  @Text('Path of the field.', { example: 'memory_mb' }) readonly field: string;
  @Text({ example: 'must be a whole number from 256 to 2048 on the tier "free"' })
  readonly message: string;
  @Count({ required: false, example: 256 }) readonly min?: number;
  @Count({ required: false, example: 2048 }) readonly max?: number;
  @Text({ required: false, example: 'free' }) readonly tier?: string;
}

/** The shape of every error. */
export class ErrorResponse {
  @Text('Stable error message.', { example: 'invalid parameters' })
  readonly error: string;
  @Choice(ERROR_CODES, 'Stable error code for programs.', { enumName: 'ErrorCode', example: 'invalid_parameters' })
  readonly code: string;
  @Text('Same as the header x-request-id.', { example: '0b7e5c1a-2f64-4d0e-9a35-6b1f0c2d3e4f' })
  readonly request_id: string;
  @ApiPropertyOptional({ type: [ErrorDetail], description: 'For invalid parameters: one entry per field.' })
  readonly details?: readonly ErrorDetail[];
}
