import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsBoolean, IsIn, IsInt, IsOptional, IsString, Matches, Max, Min } from 'class-validator';
import { printableName } from '../http';
import { RunEndView } from '../sandbox';
import { PORT_ACCESS, type PortAccess, type PreviewLinkEntity } from './preview.entities';

const DAY_SECONDS = 24 * 3600;
/** Lifetimes of links. */
export const LINK_SECONDS = { min: 60, usual: DAY_SECONDS, max: 30 * DAY_SECONDS } as const;

const URL_EXAMPLE = 'https://3000-3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11.preview.example';
const PORT = { type: 'integer', minimum: 1, maximum: 65_535, example: 3000 } as const;
const ACCESS_MEANING = '`private`: accessible to the owner and with a link. `public`: accessible to everyone.';

/** A port on which a program in a container listens. */
class PortView {
  @ApiProperty(PORT)
  readonly port: number;
  @ApiProperty({
    type: [String],
    example: ['127.0.0.1'],
    description: 'Addresses in the container that the program listens on. Previews can reach all of them.',
  })
  readonly addresses: readonly string[];
  @ApiProperty({ enum: PORT_ACCESS, enumName: 'PortAccess', example: 'private', description: ACCESS_MEANING })
  readonly access: PortAccess;
  @ApiProperty({
    type: String,
    nullable: true,
    example: URL_EXAMPLE,
    description: 'URL of the preview; null if previews are off.',
  })
  readonly url: string | null;
}

/** Answer of `GET /api/containers/:id/ports`, and the `data` of its event `ports`. */
export class PortListView {
  @ApiProperty({ type: [PortView], description: 'In ascending order.' })
  readonly ports: readonly PortView[];
}

/** Why a stream of ports ends; the `data` of the event `end`. */
export class PortsEndView extends RunEndView {}

/** Body of `PUT /api/containers/:id/ports/:port`. */
export class PortAccessDto {
  @ApiProperty({ type: String, enum: [...PORT_ACCESS], example: 'public', description: ACCESS_MEANING })
  @IsString()
  @IsIn(PORT_ACCESS, { message: `must be ${PORT_ACCESS.join(' or ')}` })
  readonly access: PortAccess;
}

/** Answer of `PUT /api/containers/:id/ports/:port`. */
export class PortAccessView {
  @ApiProperty(PORT)
  readonly port: number;
  @ApiProperty({ enum: PORT_ACCESS, enumName: 'PortAccess', example: 'public', description: ACCESS_MEANING })
  readonly access: PortAccess;
  @ApiProperty({ example: URL_EXAMPLE, description: 'URL of the preview.' })
  readonly url: string;
}

/** Body of `POST /api/containers/:id/ports/:port/links`. */
export class CreateLinkDto {
  @ApiPropertyOptional({
    type: String,
    nullable: true,
    example: 'for the review',
    description: 'Name to identify the link.',
  })
  @IsOptional()
  @IsString()
  @Matches(printableName(64), { message: 'must be 1 to 64 printable characters' })
  readonly name?: string | null;

  @ApiPropertyOptional({
    type: 'integer',
    nullable: true,
    default: LINK_SECONDS.usual,
    description: 'Seconds until the link and its open connections expire: 60 to 2592000 (30 days).',
  })
  @IsOptional()
  @IsInt({ message: 'must be a whole number of seconds' })
  @Min(LINK_SECONDS.min, { message: `must be at least ${String(LINK_SECONDS.min)}` })
  @Max(LINK_SECONDS.max, { message: `must be at most ${String(LINK_SECONDS.max)}` })
  readonly expires_in?: number | null;

  @ApiPropertyOptional({
    type: Boolean,
    nullable: true,
    default: false,
    description:
      'true: the link works only in the first browser that opens it, and its token cannot be used in a header.',
  })
  @IsOptional()
  @IsBoolean()
  readonly once?: boolean | null;

  @ApiPropertyOptional({
    type: Boolean,
    nullable: true,
    default: false,
    description: 'true: visitors with the link can start the stopped container.',
  })
  @IsOptional()
  @IsBoolean()
  readonly may_start?: boolean | null;
}

/** A link to a port. */
class LinkView {
  @ApiProperty({ format: 'uuid' })
  readonly id: string;
  @ApiProperty(PORT)
  readonly port: number;
  @ApiProperty({ type: String, nullable: true, example: 'for the review' })
  readonly name: string | null;
  @ApiProperty({ example: false, description: 'True if the link works only in one browser.' })
  readonly once: boolean;
  @ApiProperty({ example: false, description: 'True if visitors with the link can start the container.' })
  readonly may_start: boolean;
  @ApiProperty({ type: String, format: 'date-time', nullable: true, description: 'When a single-use link was used.' })
  readonly used_at: string | null;
  @ApiProperty({ format: 'date-time' })
  readonly created_at: string;
  @ApiProperty({ format: 'date-time' })
  readonly expires_at: string;
}

/** Answer of `POST /api/containers/:id/ports/:port/links`. */
export class CreatedLinkView extends LinkView {
  @ApiProperty({
    example: `${URL_EXAMPLE}/.berth/open#preview_3Zg…`,
    description: 'For browsers: opens the preview until the link expires. Shown only once.',
  })
  readonly url: string;
  @ApiProperty({
    example: 'preview_3Zgk3yq0Yw2mJx6l4bq8Zb0sV1nQ5tR7uWdpVq4XwT1',
    description: 'For programs: value of the header `Berth-Token`. Shown only once.',
  })
  readonly token: string;
}

/** Answer of `GET /api/containers/:id/ports/:port/links`. */
export class LinkListView {
  @ApiProperty({ type: [LinkView], description: 'Active links, newest first.' })
  readonly links: readonly LinkView[];
}

/** Answer of `DELETE /api/containers/:id/ports/:port/links/:link`. */
export class LinkRevokedView {
  @ApiProperty({ enum: ['link revoked'] })
  readonly message: string;
  @ApiProperty({ format: 'uuid' })
  readonly id: string;
}

export function viewLink(link: PreviewLinkEntity): LinkView {
  return {
    id: link.id,
    port: link.port,
    name: link.name,
    once: link.isSingle,
    may_start: link.mayStart,
    used_at: link.usedAt?.toISOString() ?? null,
    created_at: link.createdAt.toISOString(),
    expires_at: link.expiresAt.toISOString(),
  };
}
