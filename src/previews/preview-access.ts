import { Injectable } from '@nestjs/common';
import type { IncomingMessage } from 'node:http';
import { holdsScope, insufficientScope, invalidToken, type Principal, TokenReach, TokenService } from '../auth';
import type { Caller } from '../containers';
import { Database, type Lookup, readTime } from '../database';
import { DomainError } from '../errors';
import { cookieOf } from '../http';
import { Clock } from '../scheduling';
import { TiersService } from '../tiers';
import type { PreviewTarget } from './preview-address';
import { COOKIE, TOKEN_HEADER } from './preview-headers';
import { isLinkToken, isTo, PreviewLinks, type ValidLink } from './preview-links';

/** A container and its owner, in the order of the lookup's columns. */
type Row = readonly [
  userId: string,
  status: string,
  operation: string | null,
  engineId: string | null,
  runStartedAt: string | null,
  autoStart: unknown,
  deletedAt: unknown,
  tier: string,
  sessionExpiresAt: unknown,
  suspendedAt: unknown,
  userDeletedAt: unknown,
];

/** A visitor who may see a port now, and the container as its row is. */
export interface Admission extends PreviewTarget {
  readonly owner: Caller;
  readonly status: string;
  /** The operation that holds the container; null if there is none. */
  readonly operation: string | null;
  /** null if it is not in Docker. */
  readonly engineId: string | null;
  /** Distinguishes the container's runs. */
  readonly runStartedAt: string | null;
  /** Whether a request to a stopped container starts it. */
  readonly autoStart: boolean;
  /** Whether the visitor may start it. */
  readonly mayStart: boolean;
  readonly by: 'public' | 'link' | 'token';
}

/** What a request brings to prove that it may see a port. */
export interface Credentials {
  /** Of the header `Berth-Token`. */
  readonly token: string | null;
  readonly cookie: string | null;
  /** Who has proved otherwise who they are: see `PreviewExtension`. */
  readonly principal?: Principal | undefined;
  /** Whether everybody may see all ports: likewise. */
  readonly isPublic?: boolean;
}

type Visitor = Pick<Admission, 'by' | 'mayStart'>;

const ANYBODY: Visitor = { by: 'public', mayStart: false };

/** Decides who may see a port of a container, at each request anew. */
@Injectable()
export class PreviewAccess {
  private readonly container: Lookup;

  constructor(
    database: Database,
    private readonly links: PreviewLinks,
    private readonly tokens: TokenService,
    private readonly reach: TokenReach,
    private readonly tiers: TiersService,
    private readonly clock: Clock,
  ) {
    this.container = database.lookup({
      columns: [
        'c.user_id',
        'c.status',
        'c.operation',
        'c.docker_id',
        'c.run_started_at',
        'c.auto_start',
        'c.deleted_at',
        'u.tier',
        'u.session_expires_at',
        'u.suspended_at',
        'u.deleted_at AS user_deleted_at',
      ],
      from: 'containers c INNER JOIN users u ON u.id = c.user_id',
      key: 'c.id',
    });
  }

  /**
   * @throws DomainError `container_not_found`; `user_suspended`, `guest_session_expired` and `exec_not_allowed` for the
   *   container's owner; `unauthorized`, `not_authorized` and `insufficient_permissions` for the visitor
   */
  async admit(target: PreviewTarget, credentials: Credentials): Promise<Admission> {
    const [row, isPublic, proof] = await Promise.all([
      this.container(target.containerId) as Promise<Row | null>,
      this.links.isPublic(target),
      this.proofOf(credentials),
    ]);
    if (!row) throw new DomainError('container_not_found');
    const [userId, status, operation, engineId, runStartedAt, autoStart, deletedAt, ...user] = row;
    const [tier, sessionEnd, suspendedAt, userDeletedAt] = user;
    if (deletedAt !== null || userDeletedAt !== null) throw new DomainError('container_not_found');
    const sessionExpiresAt = readTime(sessionEnd);
    const isSeenByAll = (isPublic || credentials.isPublic === true) && this.tiers.limitsOf(tier).publicPreviews;
    const visitor = isSeenByAll ? ANYBODY : visitorBy(proof, { target, ownerId: userId, credentials });
    if (visitor.by === 'token') await this.reach.assert(proof as Principal, target.containerId);
    // Only visitors who may see the port learn about its owner.
    if (suspendedAt !== null) throw new DomainError('user_suspended');
    if (sessionExpiresAt !== null && sessionExpiresAt <= this.clock.now()) {
      throw new DomainError('guest_session_expired');
    }
    this.tiers.assertExec(tier);
    return {
      ...target,
      owner: { userId, tier, sessionExpiresAt, boundTo: null },
      status,
      operation,
      engineId,
      runStartedAt,
      // SQLite has numbers for booleans.
      autoStart: Boolean(autoStart),
      ...visitor,
    };
  }

  private async proofOf({ token, cookie, principal }: Credentials): Promise<Principal | ValidLink | null> {
    if (principal) return principal;
    if (token !== null && !isLinkToken(token)) return this.tokens.verify(token);
    return this.links.find(token ?? cookie ?? '');
  }
}

/** @throws DomainError `unauthorized`, `not_authorized`, `insufficient_permissions` */
function visitorBy(
  proof: Principal | ValidLink | null,
  asked: { readonly target: PreviewTarget; readonly ownerId: string; readonly credentials: Credentials },
): Visitor {
  const { target, ownerId, credentials } = asked;
  const isLink = proof !== null && 'containerId' in proof;
  if (proof === null || (isLink && !isTo(proof, target))) {
    throw credentials.token === null ? new DomainError('unauthorized') : invalidToken();
  }
  if (isLink) return { by: 'link', mayStart: proof.mayStart };
  if (proof.userId !== ownerId) throw new DomainError('not_authorized');
  if (!holdsScope(proof, 'exec')) throw insufficientScope('exec');
  return { by: 'token', mayStart: holdsScope(proof, 'write') };
}

/**
 * The credentials of a request. Browsers send the cookie with requests of other sites too, and WebSockets are not
 * protected by CORS: it counts only for requests of the preview's own pages, and for navigation to it.
 */
export function credentialsOf({ headers, method }: IncomingMessage, origin: string): Credentials {
  const header = headers[TOKEN_HEADER];
  const site = headers['sec-fetch-site'];
  const isNavigation = headers['sec-fetch-mode'] === 'navigate' && (method === 'GET' || method === 'HEAD');
  const isOwn = site === undefined || site === 'same-origin' || site === 'none' || isNavigation;
  const isOwnOrigin = headers.origin === undefined || headers.origin === origin;
  return {
    token: typeof header === 'string' ? header : null,
    cookie: isOwn && isOwnOrigin ? cookieOf(headers.cookie, COOKIE) : null,
  };
}
