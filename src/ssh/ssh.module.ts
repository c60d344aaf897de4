import { Module } from '@nestjs/common';
import { AuditModule } from '../audit';
import { AuthModule } from '../auth';
import { ContainersModule } from '../containers';
import { RateLimitsModule } from '../rate-limits';
import { SandboxModule } from '../sandbox';
import { SecretsModule } from '../secrets';
import { HostKeys } from './host-keys';
import { SshForwards } from './ssh-forwards';
import { SshKeyRetention, SshKeys } from './ssh-keys';
import { SshLogins } from './ssh-logins';
import { SshMetrics } from './ssh-metrics';
import { SshServer } from './ssh-server';
import { SshSessions } from './ssh-sessions';
import { SshWork } from './ssh-work';
import { SshController, SshKeysController } from './ssh.controller';

/** SSH: users' keys, and the listener that serves shells, commands, SFTP and forwarded ports. */
@Module({
  imports: [AuditModule, AuthModule, ContainersModule, RateLimitsModule, SandboxModule, SecretsModule],
  controllers: [SshKeysController, SshController],
  providers: [HostKeys, SshForwards, SshKeyRetention, SshKeys, SshLogins, SshMetrics, SshServer, SshSessions, SshWork],
})
export class SshModule {}
