import { ApiProperty } from '@nestjs/swagger';
import { IsBoolean, IsInt, IsOptional, IsString, Matches, Max, MaxLength, Min, MinLength } from 'class-validator';
import { Choice, Count, Flag, Text } from '../api-fields';
import { EnvironmentProperty } from '../containers';
import { BodyExample, QueryInteger } from '../http';

export const CODE_TIMEOUT_MS = { usual: 60_000, max: 600_000 } as const;
const MOST_CODE = 60_000;
const OF_RUN = 'Additional environment variables of this run; they override those of the container.';

/** Body of `POST /api/containers/:id/run-code`. */
@BodyExample({ code: 'import math\nmath.sqrt(2)' })
export class RunCodeDto {
  @Text({ example: 'import math\nmath.sqrt(2)', minLength: 1, maxLength: MOST_CODE })
  @IsString()
  @MinLength(1)
  @MaxLength(MOST_CODE)
  code: string;

  @Text('A language of the image: python, javascript or bash.', { default: 'python' })
  @IsOptional()
  @IsString()
  @Matches(/^[a-z0-9+#-]{1,20}$/, { message: 'must be the name of a language, such as python' })
  language?: string;

  @Text('Name of a context, which keeps its variables; created if it does not exist. Omitted: that of the language.')
  @IsOptional()
  @IsString()
  @Matches(/^[A-Za-z0-9_-]{1,64}$/, { message: 'must have 1 to 64 of A-Z, a-z, 0-9, "_" and "-"' })
  context?: string;

  @Count('Timeout; the code is interrupted, and its kernel restarted if it goes on for 5 s.', { default: 60_000 })
  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(CODE_TIMEOUT_MS.max)
  timeout_ms?: number;

  @EnvironmentProperty({ example: { GREETING: 'Hello' }, description: OF_RUN }) env?: Record<string, string>;

  @Flag('Restarts the kernel first, with what runs in it.', { default: false })
  @IsOptional()
  @IsBoolean()
  restart?: boolean;

  @Flag('Answers once the code has begun; it goes on without a client, and its output is kept.', { default: false })
  @IsOptional()
  @IsBoolean()
  detached?: boolean;
}

/** The query of `GET /api/containers/:id/run-code/:execution`. */
export class FollowCodeQuery {
  @QueryInteger({ min: 0, default: 0, description: 'Number of lines to skip: the id of the last event received.' })
  after?: number;
}

const FORMATS =
  'By format: text, html, markdown, latex, svg, json, javascript, data (of a table), chart (of a figure), and in ' +
  'Base64 png, jpeg and pdf; others by their MIME type.';

/** What code shows: the value of its last line, or a picture; the `data` of the event `result`. */
export class CodeShownView {
  @Flag('True for the value of the last line.', { example: true }) readonly main: boolean;
  @ApiProperty({ type: 'object', additionalProperties: true, example: { text: '1.41' }, description: FORMATS })
  readonly formats: Readonly<Record<string, unknown>>;
}

/** An exception of the code, or the end of its kernel; the `data` of the event `exception`. */
export class CodeExceptionView {
  @Text('KernelDied and KernelRestarted: the variables are gone.', { example: 'NameError' }) readonly name: string;
  @Text({ example: "name 'x' is not defined" }) readonly value: string;
  @Text({ example: "NameError: name 'x' is not defined" }) readonly traceback: string;
}

/** The `data` of the event `started`. */
export class CodeStartView {
  @Text('Id of the run, by which its output can be read again.', { example: '4f1d2c3b5a6978808f9eadbccbdae9f8' })
  readonly execution: string;
}

/** How a run ended; the `data` of the event `end`. */
export class CodeEndView extends CodeStartView {
  @Flag('True if the code still runs.', { example: false }) readonly running: boolean;
  @Count('Number of the run in its context.', { nullable: true, example: 1 })
  readonly execution_count: number | null;
  @Choice(['timeout', 'disconnect', 'restart'], 'Why the code was interrupted.', { nullable: true, example: null })
  readonly interrupted: string | null;
  @Flag('True if the kernel was restarted: its variables are gone.', { example: false }) readonly restarted: boolean;
  @Count('Number of the lines that were read.', { example: 3 }) readonly next: number;
}

/** Answer of `POST /api/containers/:id/run-code`. */
export class CodeResultView extends CodeEndView {
  @Text({ example: '' }) readonly stdout: string;
  @Text({ example: '' }) readonly stderr: string;
  @ApiProperty({ type: [CodeShownView] }) readonly results: CodeShownView[];
  @ApiProperty({ type: CodeExceptionView, nullable: true, example: null }) readonly exception: CodeExceptionView | null;
  @Flag('True if output beyond 1 MiB or results beyond 16 MiB were discarded.', { example: false })
  readonly truncated: boolean;
}
