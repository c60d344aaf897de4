import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsBoolean, IsIn, IsInt, IsOptional, IsString, Matches, Max, Min } from 'class-validator';
import { Choice, Flag, Text, Timestamp, Uuid } from '../api-fields';
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
  @ApiProperty(PORT) readonly port: number;
  @ApiProperty({
    type: [String],
    example: ['127.0.0.1'],
    description: 'Addresses in the container that the program listens on. Previews can reach all of them.',
  })
  readonly addresses: readonly string[];
  @Choice(PORT_ACCESS, ACCESS_MEANING, { enumName: 'PortAccess', example: 'private' })
  readonly access: PortAccess;
  @Text('URL of the preview; null if previews are off.', { nullable: true, example: URL_EXAMPLE })
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
  @Choice(PORT_ACCESS, ACCESS_MEANING, { example: 'public' })
  @IsString()
  @IsIn(PORT_ACCESS, { message: `must be ${PORT_ACCESS.join(' or ')}` })
  readonly access: PortAccess;
}

/** Answer of `PUT /api/containers/:id/ports/:port`. */
export class PortAccessView {
  @ApiProperty(PORT) readonly port: number;
  @Choice(PORT_ACCESS, ACCESS_MEANING, { enumName: 'PortAccess', example: 'public' })
  readonly access: PortAccess;
  @Text('URL of the preview.', { example: URL_EXAMPLE }) readonly url: string;
}

/** Body of `POST /api/containers/:id/ports/:port/links`. */
export class CreateLinkDto {
  @Text('Name to identify the link.', { example: 'for the review' })
  @IsOptional()
  @IsString()
  @Matches(printableName(64), { message: 'must be 1 to 64 printable characters' })
  readonly name?: string | null;

  @ApiPropertyOptional({
    type: 'integer',
    default: LINK_SECONDS.usual,
    description: 'Seconds until the link and its open connections expire: 60 to 2592000 (30 days).',
  })
  @IsOptional()
  @IsInt({ message: 'must be a whole number of seconds' })
  @Min(LINK_SECONDS.min, { message: `must be at least ${String(LINK_SECONDS.min)}` })
  @Max(LINK_SECONDS.max, { message: `must be at most ${String(LINK_SECONDS.max)}` })
  readonly expires_in?: number | null;

  @Flag('true: the link works only in the first browser that opens it, and its token cannot be used in a header.', {
    default: false,
  })
  @IsOptional()
  @IsBoolean()
  readonly once?: boolean | null;

  @Flag('true: visitors with the link can start the stopped container.', { default: false })
  @IsOptional()
  @IsBoolean()
  readonly may_start?: boolean | null;
}

/** A link to a port. */
class LinkView {
  @Uuid() readonly id: string;
  @ApiProperty(PORT)
  readonly port: number;
  @Text({ nullable: true, example: 'for the review' })
  readonly name: string | null;
  @Flag('True if the link works only in one browser.', { example: false })
  readonly once: boolean;
  @Flag('True if visitors with the link can start the container.', { example: false })
  readonly may_start: boolean;
  @Timestamp('When a single-use link was used.', { nullable: true })
  readonly used_at: string | null;
  @Timestamp() readonly created_at: string;
  @Timestamp() readonly expires_at: string;
}

/** Answer of `POST /api/containers/:id/ports/:port/links`. */
export class CreatedLinkView extends LinkView {
  @Text('For browsers: opens the preview until the link expires. Shown only once.', {
    example: `${URL_EXAMPLE}/.berth/open#preview_3Zg…`,
  })
  readonly url: string;
  @Text('For programs: value of the header `Berth-Token`. Shown only once.', {
    example: 'preview_3Zgk3yq0Yw2mJx6l4bq8Zb0sV1nQ5tR7uWdpVq4XwT1',
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
  @Choice(['link revoked']) readonly message: string;
  @Uuid() readonly id: string;
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
