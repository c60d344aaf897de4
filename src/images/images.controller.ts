import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Scopes } from '../auth';
import { ImageCatalog, ImageListView } from './image-catalog';

@ApiTags('images')
@Controller('images')
export class ImagesController {
  constructor(private readonly catalog: ImageCatalog) {}

  @Get()
  @Scopes('read')
  @ApiOperation({ summary: 'List the images that a container can be made of' })
  @ApiOkResponse({ type: ImageListView })
  async list(): Promise<ImageListView> {
    return { images: await this.catalog.list() };
  }
}
