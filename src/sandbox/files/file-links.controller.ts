import { Controller, Get, Param, Post, Query, Req, Res, UseGuards } from '@nestjs/common';
import { ApiCreatedResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Audited } from '../../audit';
import { CurrentPrincipal, type Principal, Public, Scopes } from '../../auth';
import { ConnectionEnd, Location } from '../../http';
import { RefusesIdempotencyKey } from '../../idempotency';
import { ApiInside } from '../access/api-inside';
import { ApiDownload } from './api-files';
import { QueryPath } from './container-path';
import * as dto from './dto';
import { FileLinkGuard, FileLinks } from './file-links';
import { FilesService } from './files.service';

/** Links to files in running containers. */
@ApiTags('inside containers')
@Controller('containers/:id/files')
export class FileLinksController {
  constructor(
    private readonly links: FileLinks,
    private readonly files: FilesService,
  ) {}

  @Post('links')
  @Scopes('exec')
  @RefusesIdempotencyKey()
  @Audited('container.file_link')
  @Location<dto.FileLinkView>(({ url }) => url)
  @ApiOperation({
    summary: 'Create a download link for a file',
    description:
      'For programs that can open a URL but not send headers. The link is valid for 60 seconds and for this file ' +
      'only, and expires with the token that created it. Whether the file exists is checked at the download.',
  })
  @ApiCreatedResponse({ type: dto.FileLinkView })
  @ApiInside()
  make(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Query() _query: dto.PathQuery,
    @QueryPath('path') path: Buffer | undefined,
  ): Promise<dto.FileLinkView> {
    return this.links.make(caller, id, path);
  }

  @Get('linked')
  @Public()
  @UseGuards(FileLinkGuard)
  @Audited('container.file_read')
  @ApiOperation({
    summary: 'Download a file through a link',
    description: 'Requires no token: the link authorizes the download, which counts as one of the user who created it.',
  })
  @ApiDownload('link_not_found', 'unauthorized')
  download(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Query() _query: dto.LinkQuery,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
    @ConnectionEnd() gone: AbortSignal,
  ): Promise<void> {
    return this.files.download({ caller, id, gone }, request.linkedPath, { request, reply });
  }
}
