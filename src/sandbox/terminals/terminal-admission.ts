import { Injectable } from '@nestjs/common';
import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import { RequestAudit, showable } from '../../audit';
import { holdsScope, insufficientScope, invalidToken, OpenConnections, type Principal } from '../../auth';
import { DomainError, type FieldFault, invalidParameters } from '../../errors';
import { ClientAddress, createValidationPipe, Draining, requestIdOf } from '../../http';
import { SocketLimits } from '../../rate-limits';
import { KeyedLimiter } from '../../scheduling';
import { ProgramDto } from '../commands/dto';
import { side, type TerminalCodec, TerminalConnection, type AdmittedClient } from './terminal-connection';
import { type TerminalProgram, Terminals } from './terminals';

/** Maximum connections of one user to this process: enough for every window of one person. */
const MAX_CLIENTS_PER_USER = 100;

const asked = z.object({
  container: z.string().min(1).max(512),
  session: z.uuid().optional(),
  cols: side.default(80),
  rows: side.default(24),
  after: z.coerce.number().int().min(0).optional(),
  takeover: z.union([z.boolean(), z.enum(['true', 'false']).transform((word) => word === 'true')]).optional(),
});

/** What a client asks for. */
interface Admission {
  readonly token: string | null;
  /** `container`, and optionally `session`, `cols`, `rows`, `after`, `takeover`. */
  readonly asked: unknown;
  /** What runs in a new terminal, as a {@link ProgramDto}; the login shell if absent. */
  readonly program?: unknown;
  /** Refuses unknown fields in `asked`. */
  readonly isStrict?: boolean;
}

/** Admits clients to terminals, for both endpoints: Socket.IO and plain WebSockets. */
@Injectable()
export class TerminalAdmission {
  private readonly clients = new KeyedLimiter(MAX_CLIENTS_PER_USER);

  constructor(
    private readonly limits: SocketLimits,
    private readonly connections: OpenConnections,
    private readonly terminals: Terminals,
    private readonly audit: RequestAudit,
    private readonly addresses: ClientAddress,
    private readonly draining: Draining,
  ) {}

  /**
   * Finds the terminal that a client asks for, or starts one, and attaches the client. The audit entry is written
   * before.
   *
   * @param codec sends the client its messages
   * @throws DomainError
   */
  async admit(request: IncomingMessage, codec: TerminalCodec, options: Admission): Promise<TerminalConnection> {
    if (this.draining.begun) throw new DomainError('shutting_down');
    const { token } = options;
    const principal = token === null ? null : await this.limits.verify(request, token);
    if (!principal) throw token === null ? new DomainError('unauthorized') : invalidToken();
    const leave = this.clients.take(principal.userId);
    if (!leave) throw new DomainError('too_many_connections');
    const client = await this.audited(request, principal, options).catch((error: unknown) => {
      leave();
      throw error;
    });
    return new TerminalConnection({ ...client, leave }, codec);
  }

  private audited(
    request: IncomingMessage,
    principal: Principal,
    { asked: wanted, program, isStrict = false }: Admission,
  ): Promise<Omit<AdmittedClient, 'leave'>> {
    const schema = isStrict ? asked.strict() : asked;
    const { container } = (wanted ?? {}) as { container?: unknown };
    const intent = {
      action: 'container.terminal',
      userId: principal.userId,
      tokenId: principal.tokenId,
      targetId: showable(container),
      address: this.addresses.of(request),
      requestId: requestIdOf(request.headers),
    } as const;
    return this.audit.inContext(intent, () => this.attach(principal, schema.safeParse(wanted), program));
  }

  private async attach(
    principal: Principal,
    parsed: ReturnType<typeof asked.safeParse>,
    program: unknown,
  ): Promise<Omit<AdmittedClient, 'leave'>> {
    if (!holdsScope(principal, 'exec')) throw insufficientScope('exec');
    if (!parsed.success) throw invalidParameters(parsed.error.issues.flatMap(faultsOf));
    const { container, session: id, cols, rows, after, takeover } = parsed.data;
    const session =
      id === undefined
        ? await this.terminals.open(principal, container, await programOf(program))
        : await this.terminals.find(principal, container, id);
    return {
      session,
      isNew: id === undefined,
      attach: { after, takeover, size: { columns: cols, rows } },
      watch: (end) => this.connections.add({ token: principal, end }),
    };
  }
}

/** @throws DomainError `invalid_parameters` */
async function programOf(asked: unknown): Promise<TerminalProgram> {
  if (asked === undefined) return {};
  if (typeof asked !== 'object' || Array.isArray(asked))
    throw invalidParameters([{ field: 'program', message: 'must be an object' }]);
  const pipe = createValidationPipe();
  return (await pipe.transform(asked, { type: 'body', metatype: ProgramDto })) as ProgramDto;
}

function faultsOf(issue: z.core.$ZodIssue): FieldFault[] {
  if (issue.code !== 'unrecognized_keys') return [{ field: issue.path.join('.') || 'auth', message: issue.message }];
  return issue.keys.map((key) => ({ field: key.slice(0, 100), message: 'unknown field' }));
}
