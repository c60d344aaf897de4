import { Injectable } from '@nestjs/common';
import { ContainerEngine } from '../../engine';
import { invalidParameters } from '../../errors';
import type { NetworkPolicy } from '../../network-policy';
import { TiersService } from '../../tiers';

/** Resolves the network policies of containers: what the user's tier allows and this host can enforce. */
@Injectable()
export class NetworkPolicies {
  constructor(
    private readonly tiers: TiersService,
    private readonly engine: ContainerEngine,
  ) {}

  /**
   * @param requested the tier's policy if absent
   * @returns the canonical form
   * @throws DomainError `invalid_parameters` if the policy reaches more than the tier allows, or is a list that the
   *   host firewall cannot enforce
   */
  resolve(tier: string, requested: NetworkPolicy | undefined): NetworkPolicy {
    const network = this.tiers.networkOf(tier, requested);
    if (typeof network === 'string' || this.engine.host.capabilities.allowLists === 'enforced') return network;
    const allowed = requested ? 'must not be a list' : `must be none: the tier "${tier}" has a list`;
    const message = `${allowed}, which the host firewall of this server does not enforce`;
    throw invalidParameters([{ field: 'network', message }]);
  }
}
