import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsIn, IsInt, IsOptional, IsString, Max, MaxLength, Min } from 'class-validator';
import { integerFromQuery } from '../../http';

/** Rexec's clients ask for a directory without a limit, and know of no pages. */
export const LARGEST_PAGE = 1_000;

const PATH = {
  type: 'string' as const,
  minLength: 1,
  maxLength: 4095,
  pattern: '^/[^\\0]*$',
  description: 'Absolute, of 1 to 4095 bytes. Names that are not UTF-8 are percent-encoded byte by byte.',
  example: '/home/user/notes.txt',
};

/** The path itself is read as bytes: see `QueryPath`. */
export class PathQuery {
  @ApiProperty(PATH)
  @IsOptional()
  path?: unknown;
}

export class ListFilesQuery extends PathQuery {
  @ApiPropertyOptional({ type: 'integer', default: LARGEST_PAGE })
  @IsOptional()
  @Transform(integerFromQuery)
  @IsInt()
  @Min(1)
  @Max(LARGEST_PAGE)
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

/** A path is in the query or in the body. */
export class MakeDirectoryQuery {
  @ApiPropertyOptional(PATH)
  @IsOptional()
  path?: unknown;
}

export class MakeDirectoryDto {
  @ApiPropertyOptional({ ...PATH, example: '/home/user/project', description: 'In place of that of the query.' })
  @IsOptional()
  @IsString()
  @MaxLength(4095)
  path?: string;
}

export class MoveFileDto {
  @ApiProperty({ ...PATH, example: '/home/user/draft.txt' })
  @IsString()
  @MaxLength(4095)
  from: string;

  @ApiProperty({ ...PATH, example: '/home/user/final.txt', description: 'Nothing may be there; its parents are made.' })
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

export class ArchiveView {
  @ApiProperty({ example: '/home/user/project' })
  readonly path: string;
  @ApiProperty({ type: 'integer', minimum: 0, example: 12 })
  readonly entries: number;
  @ApiProperty({ type: 'integer', minimum: 0, example: 4096, description: "Of the files' contents." })
  readonly bytes: number;
}
