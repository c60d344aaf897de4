import { ApiProperty, ApiPropertyOptional, PickType } from '@nestjs/swagger';
import { Allow, IsIn, IsOptional, IsString, Length, MaxLength } from 'class-validator';
import { Choice, Count, Flag, Text, Timestamp } from '../../api-fields';
import { QueryInteger } from '../../http';
import { RUN_ENDS } from '../access/run-streams';

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
  @Allow()
  path?: unknown;
}

/** Like {@link PathQuery}, for a path to write to. */
export class EntryQuery {
  @ApiProperty(ENTRY_PATH)
  @Allow()
  path?: unknown;
}

export class LinkQuery {
  @Text("Value from the link's address.", { example: 'v1:0f6c2a9be81d4375:q83vEjRWeJA' })
  @IsString()
  link: string;
}

export class ListFilesQuery extends PathQuery {
  @QueryInteger({ min: 1, max: LARGEST_PAGE, default: LARGEST_PAGE })
  limit?: number;

  @Text('Value from the Link header of the previous page.')
  @IsOptional()
  @IsString()
  @MaxLength(400)
  cursor?: string;
}

export class SearchFilesQuery extends PathQuery {
  @Text('Part of the name, ignoring case. With *, ? or [, a pattern for the whole name.', { example: '*.ts' })
  @IsOptional()
  @IsString()
  @Length(1, 255)
  name?: string;

  @Text('Text to find in a line. Binary files and files over 16 MiB are skipped.', { example: 'TODO' })
  @IsOptional()
  @IsString()
  @Length(1, 1_000)
  content?: string;

  @QueryInteger({ min: 1, max: LARGEST_PAGE, default: LARGEST_PAGE })
  limit?: number;
}

export class WatchFilesQuery extends PathQuery {
  @Choice(['true', 'false'], 'Watch the directories below it too.', { default: 'false' })
  @IsOptional()
  @IsIn(['true', 'false'])
  recursive?: 'true' | 'false';
}

export class DeleteFileQuery extends PathQuery {
  @Choice(['true', 'false'], 'Delete directories with their contents.', { default: 'false' })
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
  @Text({ example: 'notes.txt' }) readonly name: string;
  @Text({ example: '/home/user/notes.txt' }) readonly path: string;
  @Count('Bytes.', { example: 1024 }) readonly size: number;
  @Text('Type and permissions, as shown by ls.', { example: '-rw-r--r--' })
  readonly mode: string;
  @Timestamp({ example: '2026-11-26T14:00:00.000Z' }) readonly mod_time: string;
  @Flag() readonly is_dir: boolean;
  @Text('Only if the path is not UTF-8: its percent-encoded form.', { required: false, example: '/home/user/caf%E9' })
  readonly path_encoded?: string;
}

/** A file that was found, or a line of it. */
export class FoundFileView extends PickType(FileView, ['path', 'size', 'mode', 'is_dir', 'path_encoded']) {
  @Text({ example: '/home/user/project/main.ts' })
  override readonly path: string;
  @Count('Only for a content search: number of a matching line.', { required: false, minimum: 1, example: 7 })
  readonly line?: number;
  @Text('Start of this line.', { required: false, example: '// TODO: close it' })
  readonly text?: string;
}

export class FoundFilesView {
  @ApiProperty({ type: [FoundFileView] }) readonly files: FoundFileView[];
  @Flag('False if there may be more results: the limit or the time limit was reached.')
  readonly complete: boolean;
}

const CHANGE_TYPES = ['create', 'write', 'remove', 'rename', 'chmod', 'overflow'] as const;

/** A change in a watched directory. */
export class FileChangeView {
  @Choice(
    CHANGE_TYPES,
    'create: made, or moved to this path. write: closed after writing, or uploaded. rename: moved away from this ' +
      'path. chmod: permissions, owner or times. overflow: changes were lost; list the watched directory, which is path.',
    { example: 'write' },
  )
  readonly type: (typeof CHANGE_TYPES)[number];
  @Text({ example: '/home/user/notes.txt' }) readonly path: string;
  @Text('Only if the path is not UTF-8: its percent-encoded form.', { required: false, example: '/home/user/caf%E9' })
  readonly path_encoded?: string;
}

/** The `data` of the event `changes` of `GET /api/containers/:id/files/watch`. */
export class FileChangesView {
  @ApiProperty({ type: [FileChangeView] }) readonly changes: FileChangeView[];
}

const WATCH_ENDS = [...RUN_ENDS, 'directory_removed', 'too_many_watches', 'watch_failed'] as const;

/** Why a watch ends; the `data` of its event `end`. */
export class WatchEndView {
  @Choice(WATCH_ENDS, { example: 'directory_removed' })
  readonly reason: (typeof WATCH_ENDS)[number];
  @Text('Why the container stopped, if the stop was not requested.', { required: false, example: 'oom' })
  readonly detail?: string;
}

export class FileLinkView {
  @Text("Relative to the server's address. Treat it as a secret until it expires.", {
    example:
      '/api/containers/3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11/files/linked?link=v1%3A0f6c2a9be81d4375%3Aq83vEjRWeJA',
  })
  readonly url: string;
  @Timestamp({ example: '2026-11-26T14:01:00.000Z' })
  readonly expires_at: string;
}

export class ArchiveView {
  @Text({ example: '/home/user/project' }) readonly path: string;
  @Count({ example: 12 }) readonly entries: number;
  @Count('Total size of the file contents.', { example: 4096 })
  readonly bytes: number;
}
