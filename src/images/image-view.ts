import { ApiProperty } from '@nestjs/swagger';

/** An image of the catalogue, as a client sees it. */
export class ImageView {
  @ApiProperty({ example: 'ubuntu', description: 'What to write as "image" when creating a container.' })
  readonly name: string;
  @ApiProperty({ example: 'ubuntu:24.04' })
  readonly reference: string;
  @ApiProperty({ example: 'Ubuntu 24.04 LTS' })
  readonly description: string;
  @ApiProperty({ description: 'Whether to offer it first; one is.' })
  readonly default: boolean;
  @ApiProperty({
    type: Boolean,
    nullable: true,
    description: 'Whether it is here already, so that no creation waits for it; null: not known at the moment.',
  })
  readonly available: boolean | null;
}

/** What `GET /api/images` answers. */
export class ImageListView {
  @ApiProperty({ type: [ImageView] })
  readonly images: ImageView[];
}
