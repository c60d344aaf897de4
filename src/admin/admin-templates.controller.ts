import { Body, Controller, Delete, Get, Param, Put, Res } from '@nestjs/common';
import { ApiCreatedResponse, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { Audited } from '../audit';
import { CurrentPrincipal, type Principal, Scopes } from '../auth';
import {
  assertMayStart,
  PutTemplateDto,
  TemplateDeletedView,
  TemplateListView,
  TemplatePutView,
  TemplatesService,
  TemplateView,
} from '../containers';
import { ApiFaults } from '../errors';
import { Location } from '../http';

/** The templates that creations name like images. */
@ApiTags('admin')
@Controller('admin/templates')
@Scopes('admin')
export class AdminTemplatesController {
  constructor(private readonly templates: TemplatesService) {}

  @Get()
  @ApiOperation({ summary: 'List templates' })
  @ApiOkResponse({ type: TemplateListView })
  list(): Promise<TemplateListView> {
    return this.templates.list();
  }

  @Get(':name')
  @ApiOperation({ summary: 'Get a template' })
  @ApiOkResponse({ type: TemplateView })
  @ApiFaults('template_not_found')
  get(@Param('name') name: string): Promise<TemplateView> {
    return this.templates.get(name);
  }

  @Put(':name')
  @Audited('template.put')
  @Location<TemplatePutView>(({ template }) => `/api/admin/templates/${template.name}`)
  @ApiOperation({
    summary: 'Create or replace a template',
    description:
      'Idempotent: repeating the request has no further effect. The files of a snapshot are copied before the ' +
      'response is sent, which may take a while. Containers created from a previous version keep their files.',
  })
  @ApiCreatedResponse({ type: TemplatePutView, description: 'The template was created.' })
  @ApiOkResponse({ type: TemplatePutView, description: 'The template was replaced.' })
  @ApiFaults(
    'not_authorized',
    'snapshot_not_found',
    'snapshot_not_ready',
    'image_name_taken',
    'template_failed',
    'no_capacity',
  )
  async put(
    @CurrentPrincipal() admin: Principal,
    @Param('name') name: string,
    @Body() body: PutTemplateDto,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<TemplatePutView> {
    if (body.start !== null) assertMayStart(admin, body);
    const { isNew, template } = await this.templates.put(admin, name, body);
    void reply.status(isNew ? 201 : 200);
    return { message: isNew ? 'template created' : 'template replaced', template };
  }

  @Delete(':name')
  @Audited('template.delete')
  @ApiOperation({
    summary: 'Delete a template',
    description: 'Existing containers keep running, and are recreated from the same image if necessary.',
  })
  @ApiOkResponse({ type: TemplateDeletedView })
  @ApiFaults('template_not_found')
  delete(@Param('name') name: string): Promise<TemplateDeletedView> {
    return this.templates.delete(name);
  }
}
