import { Module } from '@nestjs/common';
import { AuthModule } from '../auth';
import { type Config, CONFIG } from '../config';
import { DockerModule } from '../docker';
import { CATALOG_IMAGES, ImageCatalog } from './image-catalog';
import { ImagesController } from './images.controller';
import { loadImages } from './load-images';

/** The catalogue of images as data, and what of it a request may use. */
@Module({
  imports: [AuthModule, DockerModule],
  controllers: [ImagesController],
  providers: [
    { provide: CATALOG_IMAGES, inject: [CONFIG], useFactory: (config: Config) => loadImages(config.IMAGES_FILE) },
    ImageCatalog,
  ],
  exports: [ImageCatalog],
})
export class ImagesModule {}
