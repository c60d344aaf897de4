export { ContainerPorts } from './container-ports';
export { LINK_SECONDS } from './dto';
export { PreviewsModule } from './previews.module';
