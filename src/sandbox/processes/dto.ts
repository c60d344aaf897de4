import { ApiProperty, PickType } from '@nestjs/swagger';
import { IsBoolean, IsIn, IsOptional, IsString } from 'class-validator';
import { Choice, Count, Flag, Text, Timestamp, Uuid } from '../../api-fields';
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
  @Flag('Allocate a terminal, which merges both outputs.', { default: false })
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

  @Choice(OUTPUT_ENCODINGS, { default: 'utf-8' })
  @IsOptional()
  @IsString()
  @IsIn(OUTPUT_ENCODINGS, { message: ENCODING_RULE })
  encoding?: OutputEncoding;

  @Choice(['true', 'false'], 'Return when each piece was written. Pieces are smaller then.', { default: 'false' })
  @IsOptional()
  @IsIn(['true', 'false'])
  times?: 'true' | 'false';
}

/** Body of `POST /api/containers/:id/processes/:pid/stdin`. */
@BodyExample({ data: 'yes\n' })
export class WriteInputDto {
  @Text({ example: 'yes\n' })
  @IsOptional()
  @IsString()
  data?: string;

  @Choice(OUTPUT_ENCODINGS, 'Encoding of "data".', { default: 'utf-8' })
  @IsOptional()
  @IsString()
  @IsIn(OUTPUT_ENCODINGS, { message: ENCODING_RULE })
  encoding?: OutputEncoding;

  @Flag('Close the input after this data.', { default: false })
  @IsOptional()
  @IsBoolean()
  close?: boolean;
}

/** Body of `POST /api/containers/:id/processes/:pid/signal`. */
export class SendSignalDto {
  @Choice(SIGNALS, { example: 'INT' })
  @IsString()
  @IsIn(SIGNALS, { message: `must be one of ${SIGNALS.join(', ')}` })
  signal: SignalName;
}

/** A process in a container, as the API shows it. */
export class ProcessView {
  @Uuid() readonly id: string;
  @Text('Program, without arguments.', { example: 'node' })
  readonly program: string;
  @ApiProperty({
    type: [String],
    nullable: true,
    example: ['node', 'server.js'],
    description: 'Program and arguments, shortened if long. Null once the container has stopped.',
  })
  readonly command: readonly string[] | null;
  @Text("User of the process. Null: the image's user.", { nullable: true, example: null })
  readonly user: string | null;
  @Choice(['running', 'exited'], { example: 'running' })
  readonly status: 'running' | 'exited';
  @ApiProperty({
    type: 'integer',
    nullable: true,
    example: null,
    description: 'Null while the process runs, or if unknown.',
  })
  readonly exit_code: number | null;
  @Choice(PROCESS_ENDS, 'Why the process ended. Null while it runs.', { nullable: true, example: null })
  readonly reason: ProcessEnd['reason'] | null;
  @Flag("True for the container's start command.", { example: false })
  readonly start: boolean;
  @Timestamp() readonly started_at: string;
  @Timestamp({ nullable: true, example: null })
  readonly exited_at: string | null;
  @Count('Total bytes written; null once the container has stopped.', { nullable: true, example: 42 })
  readonly output_bytes: number | null;
  @Flag('Always true: any server process can access the output and input.', { example: true, deprecated: true })
  readonly held_here: boolean;
}

export class ProcessListView {
  @ApiProperty({ type: [ProcessView] }) readonly processes: ProcessView[];
  @Count({ example: 1 }) readonly count: number;
}

/** A piece of a process's output; also the `data` of the event `output`. */
export class OutputChunkView {
  @Choice(['stdout', 'stderr'], { example: 'stdout' })
  readonly stream: 'stdout' | 'stderr';
  @Count('Byte offset in the combined output.', { example: 0 })
  readonly offset: number;
  @Text({ example: 'listening\n' }) readonly data: string;
  @Timestamp('When the data was written, by the clock of the sandbox. Present with "times".', { required: false })
  readonly time?: string;
}

/** Answer of `GET /api/containers/:id/processes/:pid/output`. */
export class ProcessOutputView {
  @ApiProperty({ type: [OutputChunkView], description: 'In order.' })
  readonly output: readonly OutputChunkView[];
  @Count('Value of "after" for the next page.', { example: 10 })
  readonly next: number;
  @Flag('True if output after "after" is no longer stored.', { example: false })
  readonly gap: boolean;
  @Flag('True if the process has ended and all output has been read.', { example: false })
  readonly is_over: boolean;
}

/** The `data` of the event `gap`. */
export class OutputGapView {
  @Count('Offset from which output is stored.', { example: 4096 })
  readonly offset: number;
}

/** The `data` of the event `exit`. */
export class ProcessExitView extends PickType(ProcessView, ['exit_code']) {
  @Choice(PROCESS_ENDS, { example: 'exited' })
  readonly reason: ProcessEnd['reason'];
  @Timestamp() readonly exited_at: string;
}

export class ProcessMessageView {
  @Choice(['input written', 'signal sent', 'process ended'])
  readonly message: string;
  @Uuid() readonly id: string;
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
