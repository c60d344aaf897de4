export { ImageCatalog, ImagePullView } from './image-catalog';
export { ImageRecords, type ImageRecord } from './image-records';
export { ImageStore, type UsableImage } from './image-store';
export { ImagesModule } from './images.module';
