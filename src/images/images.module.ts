import { Module } from '@nestjs/common';
import { AuthModule } from '../auth';
import { type Config, CONFIG } from '../config';
import { CATALOG_IMAGES, ImageCatalog } from './image-catalog';
import { ImageRecords } from './image-records';
import { ImageStore } from './image-store';
import { ImagesController } from './images.controller';
import { loadImages } from './load-images';
import { TemplateRepository } from './template.repository';

/** The catalogue of images, the templates, which of them a request may use, and which images Berth pulled. */
@Module({
  imports: [AuthModule],
  controllers: [ImagesController],
  providers: [
    { provide: CATALOG_IMAGES, inject: [CONFIG], useFactory: (config: Config) => loadImages(config.IMAGES_FILE) },
    ImageCatalog,
    ImageRecords,
    ImageStore,
    TemplateRepository,
  ],
  exports: [ImageCatalog, ImageRecords, ImageStore, TemplateRepository],
})
export class ImagesModule {}
