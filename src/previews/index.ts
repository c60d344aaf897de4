export { PreviewsModule } from './previews.module';
