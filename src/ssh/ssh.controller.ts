import { Body, Controller, Delete, Get, Param, Post } from '@nestjs/common';
import { ApiCreatedResponse, ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { Audited } from '../audit';
import { CurrentPrincipal, type Principal, Scopes } from '../auth';
import { ApiFaults } from '../errors';
import { Location } from '../http';
import { CreateSshKeyDto, SshKeyDeletedView, SshKeyListView, SshKeyView, SshServerView, viewKey } from './dto';
import { SshKeys } from './ssh-keys';
import { SshServer } from './ssh-server';

/** A user's own SSH keys. */
@ApiTags('ssh')
@Controller('me/ssh-keys')
export class SshKeysController {
  constructor(private readonly keys: SshKeys) {}

  @Post()
  @Scopes('write')
  @Audited('ssh.key_create')
  @Location<SshKeyView>(({ id }) => `/api/me/ssh-keys/${id}`)
  @ApiOperation({
    summary: 'Register an SSH key',
    description:
      'A key belongs to one user. It gives access to containers over SSH, but not to the API. The calling token ' +
      'also needs the scope exec.',
  })
  @ApiCreatedResponse({ type: SshKeyView })
  @ApiFaults('ssh_key_taken', 'guest_session_expired', 'token_limit_reached')
  async create(
    @CurrentPrincipal() caller: Principal,
    @Body() { name, public_key: publicKey, expires_in: seconds }: CreateSshKeyDto,
  ): Promise<SshKeyView> {
    return viewKey(await this.keys.create(caller, { name, publicKey, seconds: seconds ?? undefined }));
  }

  @Get()
  @Scopes('read')
  @ApiOperation({ summary: 'List your SSH keys' })
  @ApiOkResponse({ type: SshKeyListView })
  async list(@CurrentPrincipal() caller: Principal): Promise<SshKeyListView> {
    const keys = await this.keys.list(caller.userId);
    return { ssh_keys: keys.map(viewKey), count: keys.length };
  }

  @Delete(':id')
  @Scopes('write')
  @Audited('ssh.key_delete')
  @ApiOperation({
    summary: 'Delete an SSH key',
    description: 'Connections opened with the key are closed immediately.',
  })
  @ApiParam({ name: 'id', description: 'Key id.' })
  @ApiOkResponse({ type: SshKeyDeletedView })
  @ApiFaults('ssh_key_not_found')
  async remove(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<SshKeyDeletedView> {
    await this.keys.remove(caller.userId, id);
    return { message: 'ssh key deleted', id };
  }
}

/** The SSH server, as clients need to know it. */
@ApiTags('ssh')
@Controller('ssh')
export class SshController {
  constructor(private readonly server: SshServer) {}

  @Get()
  @Scopes('read')
  @ApiOperation({ summary: 'Get the address and host keys of the SSH server' })
  @ApiOkResponse({ type: SshServerView })
  @ApiFaults('ssh_disabled')
  async describe(): Promise<SshServerView> {
    const { host, port, key } = await this.server.address();
    const { type, fingerprint, publicKey } = key;
    const shown = { type, fingerprint: `SHA256:${fingerprint}`, public_key: `${type} ${publicKey}` };
    return { host, port, host_keys: [shown] };
  }
}
