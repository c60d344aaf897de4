import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { ERRORS, FAILURE_REASONS } from './domain-error';

/** Every `code` that an answer may have, without duplicates. */
const ERROR_CODES: readonly string[] = [...new Set([...Object.keys(ERRORS), ...FAILURE_REASONS])].filter(
  (code) => code !== 'client_gone',
);

class ErrorDetail {
  @ApiProperty({ example: 'memory_mb', description: 'Path of the field.' })
  readonly field: string;
  @ApiProperty({ example: 'must be a whole number from 256 to 2048 on the tier "free"' })
  readonly message: string;
  @ApiPropertyOptional({ type: 'integer', minimum: 0, example: 256 })
  readonly min?: number;
  @ApiPropertyOptional({ type: 'integer', minimum: 0, example: 2048 })
  readonly max?: number;
  @ApiPropertyOptional({ example: 'free' })
  readonly tier?: string;
}

/** The shape of every error. */
export class ErrorResponse {
  @ApiProperty({ example: 'invalid parameters', description: 'Stable error message.' })
  readonly error: string;
  @ApiProperty({
    enum: ERROR_CODES,
    enumName: 'ErrorCode',
    example: 'invalid_parameters',
    description: 'Stable error code for programs.',
  })
  readonly code: string;
  @ApiProperty({ example: '0b7e5c1a-2f64-4d0e-9a35-6b1f0c2d3e4f', description: 'Same as the header x-request-id.' })
  readonly request_id: string;
  @ApiPropertyOptional({ type: [ErrorDetail], description: 'For invalid parameters: one entry per field.' })
  readonly details?: readonly ErrorDetail[];
}
