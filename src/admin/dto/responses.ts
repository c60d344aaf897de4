import { ApiProperty } from '@nestjs/swagger';
import { Choice, Count, Text, Timestamp, Uuid } from '../../api-fields';
import { type IssuedToken, SCOPES, type UserEntity } from '../../auth';
import { AnyContainerView, AnySnapshotView } from '../../containers';
import { ApiNextCursor, type Page } from '../../http';

/** A user as operators see them. */
class AdminUserView {
  @Uuid() readonly id: string;
  @Text({ example: 'ada' }) readonly username: string;
  @Text({ example: 'free' }) readonly tier: string;
  @Timestamp() readonly created_at: string;
  @Timestamp('When the guest session ends. Null if it does not expire.', { nullable: true, example: null })
  readonly session_expires_at: string | null;
  @Timestamp('When the user was suspended; null if active.', { nullable: true, example: null })
  readonly suspended_at: string | null;
}

/** The answer of `GET /api/admin/snapshots`. */
export class AdminSnapshotListView {
  @ApiProperty({ type: [AnySnapshotView], description: 'Newest first.' })
  readonly snapshots: readonly AnySnapshotView[];
  @ApiNextCursor() readonly next_cursor: string | null;
}

/** The answer of `GET /api/admin/users`. */
export class AdminUserListView {
  @ApiProperty({ type: [AdminUserView], description: 'Newest first.' })
  readonly users: readonly AdminUserView[];
  @ApiNextCursor() readonly next_cursor: string | null;
}

/** The first token of a new user. */
class FirstTokenView {
  @Uuid() readonly id: string;
  @Text({ example: 'first' }) readonly name: string;
  @ApiProperty({ enum: SCOPES, isArray: true, example: ['read', 'write', 'exec'] })
  readonly scopes: readonly string[];
  @Timestamp({ nullable: true }) readonly expires_at: string | null;
  @Text('Shown only once.', { example: `berth_${'1f2e3d4c'.repeat(8)}` })
  readonly token: string;
}

/** The answer of `POST /api/admin/users`. */
export class UserCreatedView {
  @Choice(['user created']) readonly message: string;
  @ApiProperty({ type: AdminUserView })
  readonly user: AdminUserView;
  @ApiProperty({ type: FirstTokenView }) readonly token: FirstTokenView;
}

/** The answer of `PATCH /api/admin/users/:id`. */
export class UserUpdatedView {
  @Choice(['user updated']) readonly message: string;
  @ApiProperty({ type: AdminUserView })
  readonly user: AdminUserView;
}

/** The answer of `DELETE /api/admin/users/:id`. */
export class UserDeletedView {
  @Choice(['user deleted']) readonly message: string;
  @Uuid() readonly id: string;
}

/** The answer of `POST /api/admin/users/:id/revoke-tokens`. */
export class TokensRevokedView {
  @Choice(['tokens revoked']) readonly message: string;
  @Uuid('User id.') readonly id: string;
  @Count('Number of tokens revoked.', { example: 2 }) readonly count: number;
}

/** The answer of `DELETE /api/admin/tokens/:id`. */
export class AdminTokenRevokedView {
  @Choice(['token revoked']) readonly message: string;
  @Uuid() readonly id: string;
  @Uuid('Owner of the token.') readonly user_id: string;
}

/** The answer of `GET /api/admin/containers`. */
export class AdminContainerListView {
  @ApiProperty({ type: [AnyContainerView], description: 'Newest first.' })
  readonly containers: readonly AnyContainerView[];
  @ApiNextCursor() readonly next_cursor: string | null;
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
  @Text('Id of the accepted Docker daemon.', { nullable: true, example: DOCKER })
  readonly docker_id: string | null;
  @Text('Id of the previously accepted daemon; the same if unchanged.', { nullable: true, example: DOCKER })
  readonly previous_docker_id: string | null;
}
