import { ApiProperty, ApiPropertyOptional, PickType } from '@nestjs/swagger';
import { IsBoolean, IsIn, IsOptional, IsString } from 'class-validator';
import { SIGNALS, type SignalName } from '../../engine';
import { BodyExample, QueryInteger } from '../../http';
import type { FoundProcess } from './background-processes';
import { PROCESS_ENDS, type ProcessEnd } from './process-rows';
import { OUTPUT_ENCODINGS, type OutputEncoding } from '../commands/output-text';
import { ProgramDto } from '../commands/dto';

const ENCODING_RULE = `must be one of ${OUTPUT_ENCODINGS.join(', ')}`;

export const OUTPUT_PAGE_BYTES = { min: 16, default: 64 * 1024, max: 1024 * 1024 } as const;

/** Body of `POST /api/containers/:id/processes`. */
@BodyExample({ command: ['sh', '-c', 'while sleep 1; do date; done'] })
export class StartProcessDto extends ProgramDto {
  @ApiPropertyOptional({ default: false, description: 'Allocate a terminal, which merges both outputs.' })
  @IsOptional()
  @IsBoolean()
  tty?: boolean;
}

/** Query of `GET /api/containers/:id/processes/:pid/output`. */
export class ReadOutputDto {
  @QueryInteger({ min: 0, default: 0, description: 'Byte offset: a "next" of an earlier response.' })
  after?: number;

  @QueryInteger({ ...OUTPUT_PAGE_BYTES, description: 'Maximum number of bytes.' })
  limit?: number;

  @ApiPropertyOptional({ enum: OUTPUT_ENCODINGS, default: 'utf-8' })
  @IsOptional()
  @IsString()
  @IsIn(OUTPUT_ENCODINGS, { message: ENCODING_RULE })
  encoding?: OutputEncoding;
}

/** Body of `POST /api/containers/:id/processes/:pid/stdin`. */
@BodyExample({ data: 'yes\n' })
export class WriteInputDto {
  @ApiPropertyOptional({ example: 'yes\n' })
  @IsOptional()
  @IsString()
  data?: string;

  @ApiPropertyOptional({ enum: OUTPUT_ENCODINGS, default: 'utf-8', description: 'Encoding of "data".' })
  @IsOptional()
  @IsString()
  @IsIn(OUTPUT_ENCODINGS, { message: ENCODING_RULE })
  encoding?: OutputEncoding;

  @ApiPropertyOptional({ default: false, description: 'Close the input after this data.' })
  @IsOptional()
  @IsBoolean()
  close?: boolean;
}

/** Body of `POST /api/containers/:id/processes/:pid/signal`. */
export class SendSignalDto {
  @ApiProperty({ enum: SIGNALS, example: 'INT' })
  @IsString()
  @IsIn(SIGNALS, { message: `must be one of ${SIGNALS.join(', ')}` })
  signal: SignalName;
}

/** A process in a container, as the API shows it. */
export class ProcessView {
  @ApiProperty({ format: 'uuid' })
  readonly id: string;
  @ApiProperty({ example: 'node', description: 'Program, without arguments.' })
  readonly program: string;
  @ApiProperty({
    type: [String],
    nullable: true,
    example: ['node', 'server.js'],
    description: 'Program and arguments, shortened if long. Null once the container has stopped.',
  })
  readonly command: readonly string[] | null;
  @ApiProperty({
    type: String,
    nullable: true,
    example: null,
    description: "User of the process. Null: the image's user.",
  })
  readonly user: string | null;
  @ApiProperty({ enum: ['running', 'exited'], example: 'running' })
  readonly status: 'running' | 'exited';
  @ApiProperty({
    type: 'integer',
    nullable: true,
    example: null,
    description: 'Null while the process runs, or if unknown.',
  })
  readonly exit_code: number | null;
  @ApiProperty({
    type: String,
    enum: PROCESS_ENDS,
    nullable: true,
    example: null,
    description: 'Why the process ended. Null while it runs.',
  })
  readonly reason: ProcessEnd['reason'] | null;
  @ApiProperty({ example: false, description: "True for the container's start command." })
  readonly start: boolean;
  @ApiProperty({ format: 'date-time' })
  readonly started_at: string;
  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: null })
  readonly exited_at: string | null;
  @ApiProperty({
    type: 'integer',
    nullable: true,
    minimum: 0,
    example: 42,
    description: 'Total bytes written; null once the container has stopped.',
  })
  readonly output_bytes: number | null;
  @ApiProperty({
    example: true,
    deprecated: true,
    description: 'Always true: any server process can access the output and input.',
  })
  readonly held_here: boolean;
}

export class ProcessListView {
  @ApiProperty({ type: [ProcessView] })
  readonly processes: ProcessView[];
  @ApiProperty({ type: 'integer', minimum: 0, example: 1 })
  readonly count: number;
}

/** A piece of a process's output; also the `data` of the event `output`. */
export class OutputChunkView {
  @ApiProperty({ enum: ['stdout', 'stderr'], example: 'stdout' })
  readonly stream: 'stdout' | 'stderr';
  @ApiProperty({ type: 'integer', minimum: 0, example: 0, description: 'Byte offset in the combined output.' })
  readonly offset: number;
  @ApiProperty({ example: 'listening\n' })
  readonly data: string;
}

/** Answer of `GET /api/containers/:id/processes/:pid/output`. */
export class ProcessOutputView {
  @ApiProperty({ type: [OutputChunkView], description: 'In order.' })
  readonly output: readonly OutputChunkView[];
  @ApiProperty({ type: 'integer', minimum: 0, example: 10, description: 'Value of "after" for the next page.' })
  readonly next: number;
  @ApiProperty({ example: false, description: 'True if output after "after" is no longer stored.' })
  readonly gap: boolean;
  @ApiProperty({ example: false, description: 'True if the process has ended and all output has been read.' })
  readonly is_over: boolean;
}

/** The `data` of the event `gap`. */
export class OutputGapView {
  @ApiProperty({ type: 'integer', minimum: 0, example: 4096, description: 'Offset from which output is stored.' })
  readonly offset: number;
}

/** The `data` of the event `exit`. */
export class ProcessExitView extends PickType(ProcessView, ['exit_code']) {
  @ApiProperty({ enum: PROCESS_ENDS, example: 'exited' })
  readonly reason: ProcessEnd['reason'];
  @ApiProperty({ format: 'date-time' })
  readonly exited_at: string;
}

export class ProcessMessageView {
  @ApiProperty({ enum: ['input written', 'signal sent', 'process ended'] })
  readonly message: string;
  @ApiProperty({ format: 'uuid' })
  readonly id: string;
}

export function processView({ row, found }: FoundProcess): ProcessView {
  const { id, program, runAs, kind, startedAt, endedAt, exitCode, reason } = row;
  return {
    id,
    program,
    command: found?.command ?? null,
    user: runAs,
    status: endedAt === null ? 'running' : 'exited',
    exit_code: exitCode,
    reason,
    start: kind === 'start',
    started_at: startedAt.toISOString(),
    exited_at: endedAt?.toISOString() ?? null,
    output_bytes: found?.state.to ?? null,
    held_here: true,
  };
}
