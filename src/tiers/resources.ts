import { ApiProperty } from '@nestjs/swagger';

/** The fields of {@link Resources}, in the order in which they are told. */
export const RESOURCE_FIELDS = ['memory_mb', 'cpu_shares', 'disk_mb'] as const;

/** What a container may use. */
export class Resources {
  @ApiProperty({ description: 'MiB.' })
  readonly memory_mb: number;
  @ApiProperty({ description: 'Millicores: 1000 is one CPU.' })
  readonly cpu_shares: number;
  @ApiProperty({ description: 'MiB.' })
  readonly disk_mb: number;
}

/** Resources of which some are left to the tier. */
export type RequestedResources = { readonly [F in keyof Resources]?: number | undefined };
