import { Controller, Delete, Get, Param } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam, ApiProperty, ApiTags } from '@nestjs/swagger';
import { Choice, Count, Timestamp, Uuid } from '../../api-fields';
import { Audited, AuditedLook } from '../../audit';
import { CurrentPrincipal, ForContainerTokens, type Principal, Scopes } from '../../auth';
import { ApiContainerById } from '../../containers';
import { RESUMING } from '../access/inside-errors';
import { Terminals } from './terminals';

/** A terminal, as the API shows it. */
class TerminalView {
  @Uuid('Id that clients attach to, as "session".') readonly id: string;
  @Timestamp() readonly started_at: string;
  @Count('Number of attached clients. All clients of another server process count as one.', { example: 1 })
  readonly clients: number;
  @ApiProperty({
    type: [String],
    nullable: true,
    maxItems: 16,
    example: ['node'],
    description:
      'Programs running in the terminal besides its shell, which keep it open without a client. Null while a ' +
      'client is attached, or if unknown.',
  })
  readonly programs: readonly string[] | null;
}

/** Answer of `GET /api/containers/:id/terminals`. */
class TerminalListView {
  @ApiProperty({ type: [TerminalView], description: 'Oldest first.' })
  readonly terminals: readonly TerminalView[];
}

/** Answer of `DELETE /api/containers/:id/terminals/:session`. */
class TerminalEndedView {
  @Choice(['terminal ended']) readonly message: string;
  @Uuid() readonly id: string;
}

/** Lists and ends the terminals of a container. Their input and output go over Socket.IO or WebSockets. */
@ApiTags('inside containers')
@ForContainerTokens()
@Controller('containers/:id/terminals')
export class TerminalsController {
  constructor(private readonly terminals: Terminals) {}

  @Get()
  @AuditedLook('container.terminal_list')
  @Scopes('exec')
  @ApiOperation({ summary: 'List open terminals of a container' })
  @ApiContainerById('guest_session_expired', 'exec_not_allowed', 'container_not_running')
  @ApiOkResponse({ type: TerminalListView })
  async list(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<TerminalListView> {
    const terminals = await this.terminals.list(caller, id);
    return {
      terminals: terminals.map((each) => ({
        id: each.id,
        started_at: each.startedAt.toISOString(),
        clients: each.clients,
        programs: each.programs,
      })),
    };
  }

  @Delete(':session')
  @Scopes('exec')
  @Audited('container.terminal_end')
  @ApiOperation({ summary: 'Close a terminal and terminate its processes' })
  @ApiContainerById(
    'guest_session_expired',
    'exec_not_allowed',
    ...RESUMING,
    'container_not_running',
    'terminal_not_found',
    'terminal_failed',
  )
  @ApiParam({ name: 'session', description: 'Terminal id.' })
  @ApiOkResponse({ type: TerminalEndedView })
  async end(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Param('session') session: string,
  ): Promise<TerminalEndedView> {
    await this.terminals.end(caller, id, session);
    return { message: 'terminal ended', id: session };
  }
}
