import { Body, Controller, Delete, Get, HttpCode, Param, Post, Put, Query, Req, Res } from '@nestjs/common';
import {
  ApiBody,
  ApiConsumes,
  ApiCreatedResponse,
  ApiExtraModels,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiOperation,
  ApiTags,
  getSchemaPath,
} from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Audited } from '../../audit';
import { CurrentPrincipal, ForContainerTokens, type Principal, Scopes } from '../../auth';
import { BodyStream, ConnectionEnd, eventStream, Location, StreamedBody, StreamsBody } from '../../http';
import { RefusesIdempotencyKey } from '../../idempotency';
import { ApiInside } from '../access/inside-errors';
import { ApiConditions, ApiDownload, BINARY, COMMON, OF_FILES, WRITING } from './api-files';
import { QueryPath } from './container-path';
import * as dto from './dto';
import { FileWatches } from './file-watches';
import { FilesService } from './files.service';
import type { Written } from './upload';

/** Files in running containers, as the image's user sees them. */
@ApiTags('inside containers')
@ForContainerTokens()
@Controller('containers/:id')
@Scopes('exec')
export class FilesController {
  constructor(
    private readonly files: FilesService,
    private readonly watches: FileWatches,
  ) {}

  @Get('files')
  @Audited('container.file_read')
  @ApiOperation({ summary: 'Download a file or a range of it' })
  @ApiDownload()
  download(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Query() _query: dto.PathQuery,
    @QueryPath('path') path: Buffer | undefined,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
    @ConnectionEnd() gone: AbortSignal,
  ): Promise<void> {
    return this.files.download({ caller, id, gone }, path, { request, reply });
  }

  @Put('files')
  @ApiConditions()
  @StreamsBody()
  @Audited('container.file_write')
  @Location(locationOf)
  @ApiOperation({
    summary: 'Upload a file; missing parent directories are created',
    description:
      'The body, of any media type, is the content. Idempotent: repeating the request writes the same file. An ' +
      'Idempotency-Key is therefore unnecessary and ignored.',
  })
  @ApiConsumes('application/octet-stream')
  @ApiBody(BINARY)
  @ApiCreatedResponse({ type: dto.FileView, description: 'The file was created.' })
  @ApiOkResponse({ type: dto.FileView, description: 'The file was replaced; its mode is kept.' })
  @ApiInside(...WRITING, 'path_not_file', 'file_too_large', 'precondition_failed')
  async write(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Query() _query: dto.EntryQuery,
    @QueryPath('path') path: Buffer | undefined,
    @Req() request: FastifyRequest,
    @StreamedBody() body: BodyStream,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<dto.FileView> {
    return answered(reply, await this.files.upload({ caller, id, request }, path, body));
  }

  @Post('files')
  @ApiConditions()
  @StreamsBody()
  @RefusesIdempotencyKey()
  @Audited('container.file_write')
  @Location(locationOf)
  @ApiOperation({
    summary: 'Upload a file in the form field "file"',
    description: 'If path is a directory or ends with a slash, the file is written into it under its own name.',
  })
  @ApiConsumes('multipart/form-data')
  @ApiBody({
    schema: { type: 'object', properties: { file: { type: 'string', format: 'binary' } }, required: ['file'] },
  })
  @ApiCreatedResponse({ type: dto.FileView, description: 'The file was created.' })
  @ApiOkResponse({ type: dto.FileView, description: 'The file was replaced; its mode is kept.' })
  @ApiInside(...WRITING, 'path_not_file', 'file_too_large', 'precondition_failed')
  async writeForm(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Query() _query: dto.PathQuery,
    @QueryPath('path') path: Buffer | undefined,
    @Req() request: FastifyRequest,
    @StreamedBody() body: BodyStream,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<dto.FileView> {
    return answered(reply, await this.files.uploadForm({ caller, id, request }, path, body));
  }

  @Delete('files')
  @ApiConditions()
  @HttpCode(204)
  @Audited('container.file_delete')
  @ApiOperation({ summary: 'Delete a file or a directory' })
  @ApiNoContentResponse({ description: 'Deleted.' })
  @ApiInside(...COMMON, 'directory_not_empty', 'path_protected', 'precondition_failed')
  remove(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Query() { recursive }: dto.DeleteFileQuery,
    @QueryPath('path') path: Buffer | undefined,
    @Req() request: FastifyRequest,
  ): Promise<void> {
    return this.files.remove({ caller, id, request }, path, { recursive: recursive === 'true' });
  }

  @Get('files/list')
  @Audited('container.file_list')
  @ApiOperation({ summary: 'List a directory, sorted by name (bytewise)' })
  @ApiOkResponse({
    type: [dto.FileView],
    headers: { Link: { description: 'Address of the next page, with rel="next".', schema: { type: 'string' } } },
  })
  @ApiInside(...COMMON)
  async list(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Query() query: dto.ListFilesQuery,
    @QueryPath('path') given: Buffer | undefined,
    @ConnectionEnd() gone: AbortSignal,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<dto.FileView[]> {
    const { limit = dto.LARGEST_PAGE, cursor } = query;
    const { files, next, path } = await this.files.list({ caller, id, gone }, given, { limit, cursor });
    if (next !== null) {
      const address = `/api/containers/${encodeURIComponent(id)}/files/list?path=${path.inQuery}`;
      void reply.header('link', `<${address}&limit=${String(limit)}&cursor=${next}>; rel="next"`);
    }
    return files;
  }

  @Get('files/search')
  @Audited('container.file_search')
  @ApiOperation({
    summary: 'Search a directory tree by name, content or both',
    description: 'Results are unordered. Symbolic links are not followed. A search takes at most 20 seconds.',
  })
  @ApiOkResponse({ type: dto.FoundFilesView })
  @ApiInside(...COMMON)
  search(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Query() { name, content, limit = dto.LARGEST_PAGE }: dto.SearchFilesQuery,
    @QueryPath('path') path: Buffer | undefined,
    @ConnectionEnd() gone: AbortSignal,
  ): Promise<dto.FoundFilesView> {
    return this.files.search({ caller, id, gone }, path, { name, content, limit });
  }

  @Get('files/watch')
  @Audited('container.file_watch')
  @ApiOperation({
    summary: 'Stream the changes in a directory',
    description:
      'Server-Sent Events, from the moment at which the directory is watched: "changes" ({ changes }), several at ' +
      'once, and finally "end" ({ reason }). Symbolic links are not followed. Of a client that reads slowly, changes ' +
      'are dropped, and "overflow" is in their place. The stream does not count as use of the container.',
  })
  @ApiExtraModels(dto.FileChangesView, dto.WatchEndView)
  @ApiOkResponse({
    description: 'The directory is watched.',
    content: eventStream({
      changes: { $ref: getSchemaPath(dto.FileChangesView) },
      end: { $ref: getSchemaPath(dto.WatchEndView) },
    }),
  })
  @ApiInside(...COMMON.filter((fault) => fault !== 'too_many_transfers'), 'too_many_watches', 'too_many_connections')
  watch(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Query() { recursive }: dto.WatchFilesQuery,
    @QueryPath('path') path: Buffer | undefined,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    return this.watches.watch({ caller, id, recursive: recursive === 'true', request, reply }, path);
  }

  @Post('files/mkdir')
  @HttpCode(201)
  @RefusesIdempotencyKey()
  @Audited('container.file_mkdir')
  @Location(locationOf)
  @ApiOperation({ summary: 'Create a directory and its parents' })
  @ApiBody({ type: dto.MakeDirectoryDto, required: false })
  @ApiCreatedResponse({ type: dto.FileView })
  @ApiInside(...WRITING)
  makeDirectory(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Query() _query: dto.MakeDirectoryQuery,
    @QueryPath('path') path: Buffer | undefined,
    @Body() body: dto.MakeDirectoryDto,
  ): Promise<dto.FileView> {
    return this.files.makeDirectory({ caller, id }, body.path ?? path);
  }

  @Post('files/move')
  @HttpCode(200)
  @RefusesIdempotencyKey()
  @Audited('container.file_move')
  @ApiOperation({
    summary: 'Move or rename a file or directory, without overwriting',
    description:
      'Not idempotent: a repeated request finds nothing to move (404 or 409). An Idempotency-Key is refused, ' +
      'because the key and the move cannot be recorded atomically.',
  })
  @ApiOkResponse({ type: dto.FileView })
  @ApiInside(...WRITING, 'path_protected', 'directory_not_empty')
  move(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Body() body: dto.MoveFileDto,
  ): Promise<dto.FileView> {
    return this.files.move({ caller, id }, body);
  }

  @Get('archive')
  @Audited('container.archive_read')
  @ApiOperation({
    summary: 'Download a directory as a tar stream',
    description: 'If a file cannot be read, the response is aborted. A complete archive contains all files.',
  })
  @ApiOkResponse({
    description: 'The archive.',
    headers: { 'Content-Disposition': OF_FILES['Content-Disposition'] },
    content: { 'application/x-tar': BINARY },
  })
  @ApiInside(...COMMON)
  downloadArchive(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Query() _query: dto.PathQuery,
    @QueryPath('path') path: Buffer | undefined,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
    @ConnectionEnd() gone: AbortSignal,
  ): Promise<void> {
    return this.files.downloadArchive({ caller, id, gone }, path, { request, reply });
  }

  @Put('archive')
  @StreamsBody()
  @Audited('container.archive_write')
  @ApiOperation({
    summary: 'Extract a tar stream into a directory',
    description:
      'The directory is created if missing. Files, directories and links within the directory are accepted; if the ' +
      'archive contains anything else, nothing is written. Idempotent: repeating the request writes the same ' +
      'files. An Idempotency-Key is therefore unnecessary and ignored.',
  })
  @ApiConsumes('application/x-tar')
  @ApiBody(BINARY)
  @ApiOkResponse({ type: dto.ArchiveView })
  @ApiInside(...WRITING, 'archive_too_large')
  uploadArchive(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Query() _query: dto.PathQuery,
    @QueryPath('path') path: Buffer | undefined,
    @StreamedBody() body: BodyStream,
  ): Promise<dto.ArchiveView> {
    return this.files.uploadArchive({ caller, id }, path, body);
  }
}

function locationOf(file: dto.FileView, { id = '' }: Readonly<Record<string, string>>): string {
  const of = `/api/containers/${encodeURIComponent(id)}/files${file.is_dir ? '/list' : ''}`;
  return `${of}?path=${file.path_encoded ?? encodeURIComponent(file.path)}`;
}

function answered(reply: FastifyReply, { became, file }: Written): dto.FileView {
  void reply.status(became === 'created' ? 201 : 200);
  return file;
}
