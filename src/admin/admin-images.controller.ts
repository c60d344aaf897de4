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
    summary: 'Pull an image of the catalogue now',
    description:
      'Asks the registry for a newer version, whatever the pull policy is. Answered within 20 s: a pull that takes longer ' +
      'goes on (`state: pulling`), and the same request again joins it. Containers keep the version that they were created from.',
  })
  @ApiOkResponse({ type: ImagePullView })
  @ApiFaults('image_not_found', 'image_never_pulled', 'pull_failed')
  pull(@Param('name') name: string): Promise<ImagePullView> {
    return this.images.pull(name);
  }
}
