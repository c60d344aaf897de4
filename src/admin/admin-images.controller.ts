import { Controller, HttpCode, Param, Post } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Audited } from '../audit';
import { Scopes } from '../auth';
import { ApiFaults } from '../errors';
import { ImagePullView, ImageStore } from '../images';

/** The catalogue's images in Docker. */
@ApiTags('admin')
@Controller('admin/images')
@Scopes('admin')
export class AdminImagesController {
  constructor(private readonly images: ImageStore) {}

  @Post(':name/pull')
  @HttpCode(200)
  @Audited('image.pull')
  @ApiOperation({
    summary: 'Pull a catalogue image now',
    description:
      'Checks the registry for a newer version, regardless of the pull policy. Responds within 20 s: a longer pull ' +
      'continues in the background (`state: pulling`), and repeating the request joins it. Existing containers ' +
      'keep their version.',
  })
  @ApiOkResponse({ type: ImagePullView })
  @ApiFaults('image_not_found', 'image_never_pulled', 'pull_failed')
  pull(@Param('name') name: string): Promise<ImagePullView> {
    return this.images.pull(name);
  }
}
