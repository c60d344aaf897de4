import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn, IsOptional, IsString, MaxLength } from 'class-validator';
import { QueryInteger } from '../../http';

/** Also the default, because Rexec's clients give no limit and know no pages. */
export const LARGEST_PAGE = 1_000;

const PATH = {
  type: 'string' as const,
  minLength: 1,
  maxLength: 4095,
  pattern: '^/[^\\x00]*$',
  description: 'Absolute, of 1 to 4095 bytes. Names that are not UTF-8 are percent-encoded byte by byte.',
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
  description: `${PATH.description} It ends with a name.`,
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
  @ApiProperty({ description: 'That of the address that was made.', example: 'v1:0f6c2a9be81d4375:q83vEjRWeJA' })
  @IsString()
  link: string;
}

export class ListFilesQuery extends PathQuery {
  @QueryInteger({ min: 1, max: LARGEST_PAGE, default: LARGEST_PAGE })
  limit?: number;

  @ApiPropertyOptional({ description: 'That of the header Link of the page before.' })
  @IsOptional()
  @IsString()
  @MaxLength(400)
  cursor?: string;
}

export class DeleteFileQuery extends PathQuery {
  @ApiPropertyOptional({
    enum: ['true', 'false'],
    default: 'false',
    description: 'A directory with all that is in it.',
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
  @ApiPropertyOptional({ ...ENTRY_PATH, example: '/home/user/project', description: 'In place of that of the query.' })
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
    description: 'Nothing may be there; its parents are made.',
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
  @ApiProperty({ example: '-rw-r--r--', description: 'Type and permissions, as ls shows them.' })
  readonly mode: string;
  @ApiProperty({ format: 'date-time', example: '2026-11-26T14:00:00.000Z' })
  readonly mod_time: string;
  @ApiProperty()
  readonly is_dir: boolean;
  @ApiPropertyOptional({
    example: '/home/user/caf%E9',
    description: 'Only where the path is not UTF-8: as it goes into a query.',
  })
  readonly path_encoded?: string;
}

export class FileLinkView {
  @ApiProperty({
    example:
      '/api/containers/3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11/files/linked?link=v1%3A0f6c2a9be81d4375%3Aq83vEjRWeJA',
    description: 'Relative to the address of the server. It is a secret until it expires.',
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
  @ApiProperty({ type: 'integer', minimum: 0, example: 4096, description: "Of the files' contents." })
  readonly bytes: number;
}
