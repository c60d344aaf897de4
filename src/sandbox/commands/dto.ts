import { ApiProperty } from '@nestjs/swagger';
import {
  IsIn,
  IsInt,
  IsOptional,
  IsString,
  Matches,
  Max,
  MaxLength,
  Min,
  type ValidationArguments,
} from 'class-validator';
import { Choice, Count, Flag, Text } from '../../api-fields';
import { EnvironmentProperty } from '../../containers';
import { ErrorResponse } from '../../errors';
import { BodyExample, validatedBy, WITHOUT_NUL } from '../../http';
import { OUTPUT_ENCODINGS, type OutputEncoding } from './output-text';

/** Limits of a command line; Linux itself accepts far more. */
const MAX_ARGUMENTS = 1024;
const MAX_COMMAND_BYTES = 64 * 1024;

const PATH = new RegExp(WITHOUT_NUL.replace('^', '^/'));
const MAX_PATH = 4096;

/** A name or an id, optionally with a group, as Docker accepts it. */
const USER = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?$/;

export const COMMAND_TIMEOUT_MS = { usual: 60_000, max: 600_000 } as const;
/** For a command with streamed input and output, which take as long as they take. */
export const STREAMED_TIMEOUT_MS = { usual: 600_000, max: 86_400_000 } as const;
export const COMMAND_OUTPUT_BYTES = { usual: 1024 * 1024, max: 1024 * 1024 } as const;

/** @returns what is wrong with a command; null if nothing is */
function faultOfCommand(value: unknown): string | null {
  if (!Array.isArray(value)) return 'must be an array: the program and its arguments';
  const parts: readonly unknown[] = value;
  if (parts.length === 0 || parts.length > MAX_ARGUMENTS) return `must have 1 to ${String(MAX_ARGUMENTS)} items`;
  if (!parts.every((part) => typeof part === 'string' && !part.includes('\0'))) {
    return 'each item must be a string without NUL';
  }
  const bytes = (parts as readonly string[]).reduce((sum, part) => sum + Buffer.byteLength(part), 0);
  return bytes > MAX_COMMAND_BYTES ? `must have at most ${String(MAX_COMMAND_BYTES)} bytes in total` : null;
}

/** A program to start in a container. */
export class ProgramDto {
  @ApiProperty({
    type: 'array',
    items: { type: 'string', pattern: WITHOUT_NUL },
    minItems: 1,
    maxItems: MAX_ARGUMENTS,
    example: ['sh', '-c', 'echo "$GREETING, $(id -un)"'],
    description: 'Program and arguments, at most 64 KiB in total; not interpreted by a shell.',
  })
  @validatedBy('isCommand', (value) => faultOfCommand(value) === null, {
    message: ({ value }: ValidationArguments): string => faultOfCommand(value) ?? '',
  })
  command: string[];

  @Text("Absolute path. Omitted: the image's working directory.", { example: '/home/user' })
  @IsOptional()
  @IsString()
  @Matches(PATH, { message: 'must be an absolute path without NUL' })
  @MaxLength(MAX_PATH)
  cwd?: string;

  @EnvironmentProperty({
    example: { GREETING: 'Hello' },
    description: 'Additional environment variables; they override those of the container.',
  })
  env?: Record<string, string>;

  @Text('Name or id, or "user:group". Omitted: the image\'s user.', { example: 'root' })
  @IsOptional()
  @IsString()
  @Matches(USER, { message: 'must be a name or id, or "user:group"' })
  user?: string;
}

/** Body of `POST /api/containers/:id/exec`. */
@BodyExample({ command: ['sh', '-c', 'echo "$GREETING, $(id -un)"'], env: { GREETING: 'Hello' } })
export class RunCommandDto extends ProgramDto {
  @Text('Standard input of the command. Omitted: empty.', { example: 'text' })
  @IsOptional()
  @IsString()
  stdin?: string;

  @Count('Timeout, after which the command and its child processes are terminated.', {
    default: COMMAND_TIMEOUT_MS.usual,
  })
  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(COMMAND_TIMEOUT_MS.max)
  timeout_ms?: number;

  @Count('Maximum combined size of both outputs. Further output is discarded; the command continues.', {
    default: COMMAND_OUTPUT_BYTES.usual,
  })
  @IsOptional()
  @IsInt()
  @Min(0)
  @Max(COMMAND_OUTPUT_BYTES.max)
  max_output_bytes?: number;

  @Choice(
    OUTPUT_ENCODINGS,
    'Encoding of the output: text, with U+FFFD in place of invalid UTF-8, or Base64 for any bytes.',
    { default: 'utf-8' },
  )
  @IsOptional()
  @IsString()
  @IsIn(OUTPUT_ENCODINGS, { message: `must be one of ${OUTPUT_ENCODINGS.join(', ')}` })
  encoding?: OutputEncoding;
}

/** The first line of the body of `POST /api/containers/:id/exec/stream`. */
export class StreamCommandDto extends ProgramDto {
  @Count('Timeout of at most one day, after which the command and its child processes are terminated.', {
    default: STREAMED_TIMEOUT_MS.usual,
  })
  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(STREAMED_TIMEOUT_MS.max)
  timeout_ms?: number;
}

/** How a command ended; the `data` of the event `result`. */
export class CommandEndView {
  @ApiProperty({
    type: 'integer',
    nullable: true,
    example: 0,
    description:
      'Exit code; 128 plus the signal number if a signal ended the command. Null if the command timed out and ' +
      'could not be terminated; it may still be running.',
  })
  readonly exit_code: number | null;
  @Flag('True if output was discarded.', { example: false })
  readonly truncated: boolean;
  @Flag('True if the command was terminated by the timeout.', { example: false })
  readonly timed_out: boolean;
  @Count(
    'Milliseconds until the end: for streams, from the start of the command; otherwise, from the call to Docker.',
    { example: 112 },
  )
  readonly duration_ms: number;
}

/** The `data` of the event `output`. */
export class CommandOutputView {
  @Choice(['stdout', 'stderr'], { example: 'stdout' })
  readonly stream: 'stdout' | 'stderr';
  @Text('In the requested encoding.', { example: 'Hello, root\n' })
  readonly data: string;
}

/** The `data` of the event `failed`. */
export class CommandFailureView extends ErrorResponse {
  @Text("With exec_not_allowed: the user's current tier, which does not allow exec.", {
    required: false,
    example: 'guest',
  })
  readonly tier?: string;
}

/** Answer of `POST /api/containers/:id/exec`. */
export class CommandResultView extends CommandEndView {
  @ApiProperty({ type: 'integer', nullable: true, example: 0, description: 'Same as exit_code, for Rexec clients.' })
  readonly exitCode: number | null;
  @Text({ example: 'Hello, root\n' }) readonly stdout: string;
  @Text({ example: '' }) readonly stderr: string;
}
