export { ImageCatalog, ImagePullView } from './image-catalog';
export { ImageRecords, type ImageRecord } from './image-records';
export { CUSTOM } from './load-images';
export { ImageStore, type UsableImage } from './image-store';
export { ImagesModule } from './images.module';
export { permits, TEMPLATE_NAME, TemplateEntity, templateImage, type TemplateRow } from './template.entity';
export { TemplateRepository } from './template.repository';
