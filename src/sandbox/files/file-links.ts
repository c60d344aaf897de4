import {
  type CanActivate,
  Controller,
  type ExecutionContext,
  Get,
  Injectable,
  Param,
  Post,
  Query,
  Req,
  Res,
  UseGuards,
} from '@nestjs/common';
import { ApiCreatedResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Audited } from '../../audit';
import {
  CurrentPrincipal,
  ForContainerTokens,
  holdsScope,
  type Principal,
  Public,
  Scopes,
  setCaller,
  TokenService,
} from '../../auth';
import { ContainersService } from '../../containers';
import { DomainError } from '../../errors';
import { ConnectionEnd, Location } from '../../http';
import { RefusesIdempotencyKey } from '../../idempotency';
import { Clock } from '../../scheduling';
import { Secrets, SecretsError } from '../../secrets';
import { ApiInside } from '../access/inside-errors';
import { ApiDownload } from './api-files';
import { ContainerPath, QueryPath } from './container-path';
import { FilesService } from './files.service';
import * as dto from './dto';

/** How long a link is valid, in milliseconds: long enough to drop what is dragged. */
const VALID_MS = 60_000;

/** What is sealed in a link. */
interface Sealed {
  readonly tokenId: string;
  /** The path's bytes, in base64url. */
  readonly path: string;
  /** In milliseconds since 1970. */
  readonly expiresAt: number;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** The path of the file that the request's link is for; set by {@link FileLinkGuard}. */
    linkedPath?: Buffer;
  }
}

/**
 * Links to single files, for programs that are given an address and cannot send a token with it. Nothing is stored:
 * what a link is for is encrypted in it, and authenticated together with the container's id.
 */
@Injectable()
export class FileLinks {
  constructor(
    private readonly containers: ContainersService,
    private readonly tokens: TokenService,
    private readonly secrets: Secrets,
    private readonly clock: Clock,
  ) {}

  /**
   * Makes a link to a file, which need not exist. It is valid for a minute, as long as the caller's token is.
   *
   * @param path of the file
   * @throws DomainError as {@link ContainersService.findToUse} does; `invalid_parameters`
   */
  async make(caller: Principal, id: string, path: Buffer | undefined): Promise<dto.FileLinkView> {
    const { bytes } = ContainerPath.parse(path ?? '', 'path');
    const { id: containerId } = await this.containers.findToUse(caller, id);
    const expiresAt = this.clock.now().getTime() + VALID_MS;
    const { tokenId } = caller;
    const sealed: Sealed = { tokenId, path: bytes.toString('base64url'), expiresAt };
    const link = this.secrets.seal(JSON.stringify(sealed), sealContext(containerId));
    const url = `/api/containers/${containerId}/files/linked?link=${encodeURIComponent(link)}`;
    return { url, expires_at: new Date(expiresAt).toISOString() };
  }

  /**
   * Opens a link: finds the caller who made it, whose token is still valid, and the path of the file.
   *
   * @param link as it came in a request
   * @throws DomainError `link_not_found` if it is not a link to a file of this container, or is no longer valid
   */
  async open(containerId: string, link: unknown): Promise<{ caller: Principal; path: Buffer }> {
    const sealed = this.unsealed(containerId, link);
    const now = this.clock.now();
    const caller = sealed && sealed.expiresAt > now.getTime() ? await this.callerOf(sealed) : null;
    const isOver = caller?.sessionExpiresAt && caller.sessionExpiresAt <= now;
    if (!sealed || !caller || isOver || !holdsScope(caller, 'exec')) throw new DomainError('link_not_found');
    return { caller, path: Buffer.from(sealed.path, 'base64url') };
  }

  private unsealed(containerId: string, link: unknown): Sealed | null {
    if (typeof link !== 'string') return null;
    try {
      return JSON.parse(this.secrets.open(link, sealContext(containerId))) as Sealed;
    } catch (error) {
      if (error instanceof SecretsError) return null;
      throw error;
    }
  }

  /** @returns null if the token is no longer valid, or its user is suspended */
  private async callerOf({ tokenId }: Sealed): Promise<Principal | null> {
    try {
      return await this.tokens.principalOf(tokenId);
    } catch (error) {
      if (error instanceof DomainError && error.kind === 'user_suspended') return null;
      throw error;
    }
  }
}

/** What a link is authenticated with, so that it opens neither another container nor another kind of sealed value. */
function sealContext(containerId: string): string {
  return `files.link:${containerId}`;
}

/**
 * Admits a request by the link in its query, in the name of the user who made the link. Before interceptors, so that
 * the audit names the user too.
 */
@Injectable()
class FileLinkGuard implements CanActivate {
  constructor(private readonly links: FileLinks) {}

  /** @throws DomainError as {@link FileLinks.open} does; `rate_limit_exceeded` */
  async canActivate(context: ExecutionContext): Promise<true> {
    const request = context
      .switchToHttp()
      .getRequest<FastifyRequest<{ Params: { id: string }; Querystring: { link?: unknown } }>>();
    const { caller, path } = await this.links.open(request.params.id, request.query.link);
    setCaller(request, caller);
    await request.onAuthenticated?.(caller, 'link');
    request.linkedPath = path;
    return true;
  }
}

/** Links to files in running containers. */
@ApiTags('inside containers')
@ForContainerTokens()
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
