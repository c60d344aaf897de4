export { ImageCatalog, ImagePullView } from './image-catalog';
export { ImageRecords, type ImageRecord } from './image-records';
export { CUSTOM, IMAGE_NAME } from './load-images';
export { ImageStore, type UsableImage } from './image-store';
export { ImagesModule } from './images.module';
export { permits, TemplateEntity, templateImage, type TemplateRow } from './template.entity';
export { TemplateRepository } from './template.repository';
