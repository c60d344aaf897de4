import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { CurrentPrincipal, type Principal, Scopes } from '../auth';
import { ImageCatalog, ImageListView, type ImageView } from './image-catalog';
import { TemplateRepository } from './template.repository';

@ApiTags('images')
@Controller('images')
export class ImagesController {
  constructor(
    private readonly catalog: ImageCatalog,
    private readonly templates: TemplateRepository,
  ) {}

  @Get()
  @Scopes('read')
  @ApiOperation({
    summary: 'List images for containers',
    description: "Catalogue images, followed by the templates that are available in the user's tier.",
  })
  @ApiOkResponse({ type: ImageListView })
  async list(@CurrentPrincipal() { tier }: Principal): Promise<ImageListView> {
    const images = [...(await this.catalog.list()), ...(await this.templatesOf(tier))];
    return { images, custom_images: this.catalog.allowsCustom };
  }

  private async templatesOf(tier: string): Promise<ImageView[]> {
    const templates = (await this.templates.list(tier)).filter(({ name }) => this.catalog.find(name) === undefined);
    if (templates.length === 0) return [];
    const present = await this.catalog.presentOf(templates.map(({ image }) => image));
    const ready = await this.templates.withReadyFiles();
    return templates.map((template) => ({
      name: template.name,
      reference: template.image,
      description: template.description ?? '',
      default: false,
      pull: 'never',
      available: template.filesId === null ? (present?.has(template.image) ?? null) : ready.has(template.name),
      template: {
        version: template.version,
        memory_mb: template.memoryMb,
        cpu_shares: template.cpuShares,
        disk_mb: template.diskMb,
        role: template.role,
        data: template.hasData,
      },
    }));
  }
}
