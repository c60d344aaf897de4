import { ApiProperty } from '@nestjs/swagger';
import { type IssuedToken, SCOPES, type UserEntity } from '../../auth';
import { AnyContainerView, AnySnapshotView } from '../../containers';
import { ApiNextCursor, type Page } from '../../http';

/** A user as operators see them. */
class AdminUserView {
  @ApiProperty({ format: 'uuid' })
  readonly id: string;
  @ApiProperty({ example: 'ada' })
  readonly username: string;
  @ApiProperty({ example: 'free' })
  readonly tier: string;
  @ApiProperty({ format: 'date-time' })
  readonly created_at: string;
  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    example: null,
    description: 'When the guest session ends. Null if it does not expire.',
  })
  readonly session_expires_at: string | null;
  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    example: null,
    description: 'When the user was suspended; null if active.',
  })
  readonly suspended_at: string | null;
}

/** The answer of `GET /api/admin/snapshots`. */
export class AdminSnapshotListView {
  @ApiProperty({ type: [AnySnapshotView], description: 'Newest first.' })
  readonly snapshots: readonly AnySnapshotView[];
  @ApiNextCursor()
  readonly next_cursor: string | null;
}

/** The answer of `GET /api/admin/users`. */
export class AdminUserListView {
  @ApiProperty({ type: [AdminUserView], description: 'Newest first.' })
  readonly users: readonly AdminUserView[];
  @ApiNextCursor()
  readonly next_cursor: string | null;
}

/** The first token of a new user. */
class FirstTokenView {
  @ApiProperty({ format: 'uuid' })
  readonly id: string;
  @ApiProperty({ example: 'first' })
  readonly name: string;
  @ApiProperty({ enum: SCOPES, isArray: true, example: ['read', 'write', 'exec'] })
  readonly scopes: readonly string[];
  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  readonly expires_at: string | null;
  @ApiProperty({ example: `berth_${'1f2e3d4c'.repeat(8)}`, description: 'Shown only once.' })
  readonly token: string;
}

/** The answer of `POST /api/admin/users`. */
export class UserCreatedView {
  @ApiProperty({ enum: ['user created'] })
  readonly message: string;
  @ApiProperty({ type: AdminUserView })
  readonly user: AdminUserView;
  @ApiProperty({ type: FirstTokenView })
  readonly token: FirstTokenView;
}

/** The answer of `PATCH /api/admin/users/:id`. */
export class UserUpdatedView {
  @ApiProperty({ enum: ['user updated'] })
  readonly message: string;
  @ApiProperty({ type: AdminUserView })
  readonly user: AdminUserView;
}

/** The answer of `DELETE /api/admin/users/:id`. */
export class UserDeletedView {
  @ApiProperty({ enum: ['user deleted'] })
  readonly message: string;
  @ApiProperty({ format: 'uuid' })
  readonly id: string;
}

/** The answer of `POST /api/admin/users/:id/revoke-tokens`. */
export class TokensRevokedView {
  @ApiProperty({ enum: ['tokens revoked'] })
  readonly message: string;
  @ApiProperty({ format: 'uuid', description: 'User id.' })
  readonly id: string;
  @ApiProperty({ type: 'integer', minimum: 0, example: 2, description: 'Number of tokens revoked.' })
  readonly count: number;
}

/** The answer of `DELETE /api/admin/tokens/:id`. */
export class AdminTokenRevokedView {
  @ApiProperty({ enum: ['token revoked'] })
  readonly message: string;
  @ApiProperty({ format: 'uuid' })
  readonly id: string;
  @ApiProperty({ format: 'uuid', description: 'Owner of the token.' })
  readonly user_id: string;
}

/** The answer of `GET /api/admin/containers`. */
export class AdminContainerListView {
  @ApiProperty({ type: [AnyContainerView], description: 'Newest first.' })
  readonly containers: readonly AnyContainerView[];
  @ApiNextCursor()
  readonly next_cursor: string | null;
}

export function viewUser({ id, username, tier, ...times }: UserEntity): AdminUserView {
  return {
    id,
    username,
    tier,
    created_at: times.createdAt.toISOString(),
    session_expires_at: times.sessionExpiresAt?.toISOString() ?? null,
    suspended_at: times.suspendedAt?.toISOString() ?? null,
  };
}

export function viewCreatedUser({
  user,
  token: { token, text },
}: {
  user: UserEntity;
  token: IssuedToken;
}): UserCreatedView {
  const { id, name, scopes, expiresAt } = token;
  const first = { id, name, scopes, expires_at: expiresAt?.toISOString() ?? null, token: text };
  return { message: 'user created', user: viewUser(user), token: first };
}

export function viewUsers({ items, next_cursor }: Page<UserEntity>): AdminUserListView {
  return { users: items.map(viewUser), next_cursor };
}

export function viewContainers({ items, next_cursor }: Page<AnyContainerView>): AdminContainerListView {
  return { containers: items, next_cursor };
}

const DOCKER = '6d3e1f0a-5b7c-4d2e-8f90-1a2b3c4d5e6f';

/** The answer of `POST /api/admin/docker/accept`. */
export class AcceptedDockerView {
  @ApiProperty({ type: String, nullable: true, example: DOCKER, description: 'Id of the accepted Docker daemon.' })
  readonly docker_id: string | null;
  @ApiProperty({
    type: String,
    nullable: true,
    example: DOCKER,
    description: 'Id of the previously accepted daemon; the same if unchanged.',
  })
  readonly previous_docker_id: string | null;
}
