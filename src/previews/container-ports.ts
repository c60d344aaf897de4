import { Injectable } from '@nestjs/common';
import { isUUID } from 'class-validator';
import type { Principal } from '../auth';
import { ContainersService } from '../containers';
import { DomainError, invalidParameters } from '../errors';
import { Clock } from '../scheduling';
import { TiersService } from '../tiers';
import { LINK_SECONDS, type CreatedLinkView, type CreateLinkDto, viewLink } from './dto';
import { portOf, type PreviewTarget } from './preview-address';
import { PreviewLinks } from './preview-links';
import { OPEN_PATH } from './preview-pages';
import { PreviewServer } from './preview-server';
import type { PortAccess, PreviewLinkEntity } from './preview.entities';

/** The API's operations on ports of a user's containers. */
@Injectable()
export class ContainerPorts {
  constructor(
    private readonly containers: ContainersService,
    private readonly links: PreviewLinks,
    private readonly server: PreviewServer,
    private readonly tiers: TiersService,
    private readonly clock: Clock,
  ) {}

  /**
   * @returns the public URL of the port
   * @throws DomainError as {@link ContainersService.findToUse} does; `previews_disabled`, `public_not_allowed`
   */
  async setAccess(caller: Principal, id: string, { port, access }: { port: string; access: PortAccess }) {
    const { target, origin } = await this.find(caller, id, port);
    if (access === 'public' && !this.tiers.limitsOf(caller.tier).publicPreviews) {
      throw new DomainError('public_not_allowed', { fields: { tier: caller.tier } });
    }
    await this.links.setAccess(caller.userId, target, access);
    return { port: target.port, access, url: origin };
  }

  /** @throws DomainError as {@link ContainersService.findToUse} does; `previews_disabled`, `link_limit_reached` */
  async createLink(
    caller: Principal,
    id: string,
    { port, expires_in: seconds, name, once, may_start: mayStart }: Readonly<CreateLinkDto> & { port: string },
  ): Promise<CreatedLinkView> {
    const { target, origin } = await this.find(caller, id, port);
    const expiresAt = new Date(this.clock.now().getTime() + (seconds ?? LINK_SECONDS.usual) * 1000);
    const asked = { name: name ?? null, isSingle: once ?? false, mayStart: mayStart ?? false, expiresAt };
    const { link, token } = await this.links.create(caller.userId, target, asked);
    return Object.assign(viewLink(link), { url: `${origin}${OPEN_PATH}#${token}`, token });
  }

  /** @throws DomainError as {@link ContainersService.findToUse} does; `previews_disabled` */
  async listLinks(caller: Principal, id: string, port: string): Promise<PreviewLinkEntity[]> {
    return this.links.list((await this.find(caller, id, port)).target);
  }

  /** @throws DomainError as {@link ContainersService.findToUse} does; `previews_disabled`, `link_not_found` */
  async revokeLink(caller: Principal, id: string, { port, link }: { port: string; link: string }): Promise<void> {
    const { target } = await this.find(caller, id, port);
    if (!isUUID(link)) throw new DomainError('link_not_found');
    await this.links.revoke(target, link);
  }

  private async find(caller: Principal, id: string, text: string): Promise<{ target: PreviewTarget; origin: string }> {
    const { id: containerId } = await this.containers.findToUse(caller, id);
    const port = portOf(text);
    if (port === null) throw invalidParameters([{ field: 'port', message: 'must be a port from 1 to 65535' }]);
    const target = { containerId, port };
    const origin = this.server.originOf(target);
    if (origin === null) throw new DomainError('previews_disabled');
    return { target, origin };
  }
}
