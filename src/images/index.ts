export { ImageCatalog } from './image-catalog';
export { ImagesModule } from './images.module';
