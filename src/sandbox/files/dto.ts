import { ApiProperty, ApiPropertyOptional, PickType } from '@nestjs/swagger';
import { IsIn, IsOptional, IsString, Length, MaxLength } from 'class-validator';
import { QueryInteger } from '../../http';

/** Also the default, because Rexec's clients give no limit and know no pages. */
export const LARGEST_PAGE = 1_000;

const PATH = {
  type: 'string' as const,
  minLength: 1,
  maxLength: 4095,
  pattern: '^/[^\\x00]*$',
  description: 'Absolute path of 1 to 4095 bytes. Percent-encode bytes that are not UTF-8.',
  example: '/home/user/notes.txt',
};

/** A name other than `.` and `..`. */
const NAME = '(?:[^/.\\x00][^/\\x00]*|\\.[^/.\\x00][^/\\x00]*|\\.\\.[^/\\x00]+)';
/**
 * The path of an entry to be made or moved: not the root, and nothing that ends with `..`. See
 * `ContainerPath.parseEntry`.
 */
const ENTRY_PATH = Object.assign({}, PATH, {
  minLength: 2,
  pattern: `^/(?:[^\\x00]*/)?${NAME}(?:/\\.?)*$`,
  description: `${PATH.description} Must end with a file name.`,
});

/** `path` is not validated here: `QueryPath` reads it as bytes. */
export class PathQuery {
  @ApiProperty(PATH)
  @IsOptional()
  path?: unknown;
}

/** Like {@link PathQuery}, for a path to write to. */
export class EntryQuery {
  @ApiProperty(ENTRY_PATH)
  @IsOptional()
  path?: unknown;
}

export class LinkQuery {
  @ApiProperty({ description: "Value from the link's address.", example: 'v1:0f6c2a9be81d4375:q83vEjRWeJA' })
  @IsString()
  link: string;
}

export class ListFilesQuery extends PathQuery {
  @QueryInteger({ min: 1, max: LARGEST_PAGE, default: LARGEST_PAGE })
  limit?: number;

  @ApiPropertyOptional({ description: 'Value from the Link header of the previous page.' })
  @IsOptional()
  @IsString()
  @MaxLength(400)
  cursor?: string;
}

export class SearchFilesQuery extends PathQuery {
  @ApiPropertyOptional({
    minLength: 1,
    maxLength: 255,
    description: 'Part of the name, ignoring case. With *, ? or [, a pattern for the whole name.',
    example: '*.ts',
  })
  @IsOptional()
  @IsString()
  @Length(1, 255)
  name?: string;

  @ApiPropertyOptional({
    minLength: 1,
    maxLength: 1_000,
    description: 'Text to find in a line. Binary files and files over 16 MiB are skipped.',
    example: 'TODO',
  })
  @IsOptional()
  @IsString()
  @Length(1, 1_000)
  content?: string;

  @QueryInteger({ min: 1, max: LARGEST_PAGE, default: LARGEST_PAGE })
  limit?: number;
}

export class DeleteFileQuery extends PathQuery {
  @ApiPropertyOptional({
    enum: ['true', 'false'],
    default: 'false',
    description: 'Delete directories with their contents.',
  })
  @IsOptional()
  @IsIn(['true', 'false'])
  recursive?: 'true' | 'false';
}

/** The path is in the query or in the body. */
export class MakeDirectoryQuery {
  @ApiPropertyOptional(ENTRY_PATH)
  @IsOptional()
  path?: unknown;
}

export class MakeDirectoryDto {
  @ApiPropertyOptional({
    ...ENTRY_PATH,
    example: '/home/user/project',
    description: 'Overrides the path in the query.',
  })
  @IsOptional()
  @IsString()
  @MaxLength(4095)
  path?: string;
}

export class MoveFileDto {
  @ApiProperty({ ...ENTRY_PATH, example: '/home/user/draft.txt' })
  @IsString()
  @MaxLength(4095)
  from: string;

  @ApiProperty({
    ...ENTRY_PATH,
    example: '/home/user/final.txt',
    description: 'Must not exist; its parent directories are created.',
  })
  @IsString()
  @MaxLength(4095)
  to: string;
}

/** A file, a directory or anything else at a path. */
export class FileView {
  @ApiProperty({ example: 'notes.txt' })
  readonly name: string;
  @ApiProperty({ example: '/home/user/notes.txt' })
  readonly path: string;
  @ApiProperty({ type: 'integer', minimum: 0, example: 1024, description: 'Bytes.' })
  readonly size: number;
  @ApiProperty({ example: '-rw-r--r--', description: 'Type and permissions, as shown by ls.' })
  readonly mode: string;
  @ApiProperty({ format: 'date-time', example: '2026-11-26T14:00:00.000Z' })
  readonly mod_time: string;
  @ApiProperty()
  readonly is_dir: boolean;
  @ApiPropertyOptional({
    example: '/home/user/caf%E9',
    description: 'Only if the path is not UTF-8: its percent-encoded form.',
  })
  readonly path_encoded?: string;
}

/** A file that was found, or a line of it. */
export class FoundFileView extends PickType(FileView, ['path', 'size', 'mode', 'is_dir', 'path_encoded']) {
  @ApiProperty({ example: '/home/user/project/main.ts' })
  override readonly path: string;
  @ApiPropertyOptional({
    type: 'integer',
    minimum: 1,
    example: 7,
    description: 'Only for a content search: number of a matching line.',
  })
  readonly line?: number;
  @ApiPropertyOptional({ example: '// TODO: close it', description: 'Start of this line.' })
  readonly text?: string;
}

export class FoundFilesView {
  @ApiProperty({ type: [FoundFileView] })
  readonly files: FoundFileView[];
  @ApiProperty({ description: 'False if there may be more results: the limit or the time limit was reached.' })
  readonly complete: boolean;
}

export class FileLinkView {
  @ApiProperty({
    example:
      '/api/containers/3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11/files/linked?link=v1%3A0f6c2a9be81d4375%3Aq83vEjRWeJA',
    description: "Relative to the server's address. Treat it as a secret until it expires.",
  })
  readonly url: string;
  @ApiProperty({ format: 'date-time', example: '2026-11-26T14:01:00.000Z' })
  readonly expires_at: string;
}

export class ArchiveView {
  @ApiProperty({ example: '/home/user/project' })
  readonly path: string;
  @ApiProperty({ type: 'integer', minimum: 0, example: 12 })
  readonly entries: number;
  @ApiProperty({ type: 'integer', minimum: 0, example: 4096, description: 'Total size of the file contents.' })
  readonly bytes: number;
}
