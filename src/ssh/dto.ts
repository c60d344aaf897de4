import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsInt, IsOptional, IsString, Matches, Max, MaxLength, Min } from 'class-validator';
import { Choice, Count, Text, Timestamp, Uuid } from '../api-fields';
import { BodyExample, printableName, WITHOUT_NUL } from '../http';
import { KEY_TYPES, MOST_KEY_TEXT } from './public-key';
import type { SshKeyEntity } from './ssh.entities';

/** Lifetimes of keys that end. */
const KEY_SECONDS = { min: 60, max: 10 * 366 * 24 * 3600 } as const;

const FINGERPRINT = 'SHA256:l7mmnn6bYWzHxUQmv0nIFKPmSjZQ0rFzRDfBqWZ2bW0';
const LINE = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAvRVPr8cMorNwnh3P98Dxsy0JmFZitjgDb31Y+rzWTT ada@laptop';
const TYPE = { enum: KEY_TYPES, enumName: 'SshKeyType', example: 'ssh-ed25519' } as const;

/** Body of `POST /api/me/ssh-keys`. */
@BodyExample({ name: 'laptop', public_key: LINE })
export class CreateSshKeyDto {
  @Text('Name to identify the key.', { example: 'laptop' })
  @IsString()
  @Matches(printableName(64), { message: 'must be 1 to 64 printable characters' })
  readonly name: string;

  @Text(`The content of a file such as id_ed25519.pub. ${KEY_TYPES.join(', ')}; RSA with at least 2048 bits.`, {
    example: LINE,
  })
  @IsString()
  @MaxLength(MOST_KEY_TEXT)
  @Matches(new RegExp(WITHOUT_NUL), { message: 'must not contain NUL' })
  readonly public_key: string;

  @ApiPropertyOptional({
    type: 'integer',
    example: 3600,
    description:
      'Seconds until the key expires and its connections are closed; at least 60. Limited by the calling token. ' +
      'Default: the key expires with the calling token, or never.',
  })
  @IsOptional()
  @IsInt({ message: 'must be a whole number of seconds' })
  @Min(KEY_SECONDS.min, { message: `must be at least ${String(KEY_SECONDS.min)}` })
  @Max(KEY_SECONDS.max, { message: `must be at most ${String(KEY_SECONDS.max)}` })
  readonly expires_in?: number | null;
}

/** A key with which its user logs in over SSH. */
export class SshKeyView {
  @Uuid("Also the id of the key's token in audit entries.") readonly id: string;
  @Text({ example: 'laptop' }) readonly name: string;
  @ApiProperty(TYPE)
  readonly type: string;
  @Text('As shown by `ssh-keygen -l`.', { example: FINGERPRINT })
  readonly fingerprint: string;
  @Timestamp() readonly created_at: string;
  @Timestamp({ nullable: true }) readonly expires_at: string | null;
  @Timestamp('Rounded to the minute.', { nullable: true })
  readonly last_used_at: string | null;
}

/** Answer of `GET /api/me/ssh-keys`. */
export class SshKeyListView {
  @ApiProperty({ type: [SshKeyView], description: 'Oldest first.' })
  readonly ssh_keys: readonly SshKeyView[];
  @Count({ example: 1 }) readonly count: number;
}

/** Answer of `DELETE /api/me/ssh-keys/:id`. */
export class SshKeyDeletedView {
  @Choice(['ssh key deleted']) readonly message: string;
  @Uuid() readonly id: string;
}

/** A key that proves to clients which server they have reached. */
class HostKeyView {
  @ApiProperty(TYPE) readonly type: string;
  @Text({ example: FINGERPRINT }) readonly fingerprint: string;
  @Text('For known_hosts, after the host name.', { example: LINE.split(' ', 2).join(' ') })
  readonly public_key: string;
}

/** Answer of `GET /api/ssh`. */
export class SshServerView {
  @Text('Host to connect to. Null: the host of the API.', { nullable: true, example: 'ssh.berth.example' })
  readonly host: string | null;
  @Count({ minimum: 1, maximum: 65_535, example: 2222 }) readonly port: number;
  @ApiProperty({ type: [HostKeyView] })
  readonly host_keys: readonly HostKeyView[];
}

export function viewKey(key: SshKeyEntity): SshKeyView {
  return {
    id: key.id,
    name: key.name,
    type: key.type,
    fingerprint: `SHA256:${key.fingerprint}`,
    created_at: key.createdAt.toISOString(),
    expires_at: key.expiresAt?.toISOString() ?? null,
    last_used_at: key.lastUsedAt?.toISOString() ?? null,
  };
}
