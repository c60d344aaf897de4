export { ContainerPorts } from './container-ports';
export { LINK_SECONDS } from './dto';
export { PreviewsModule } from './previews.module';
export { type PreviewExtension, PreviewServer } from './preview-server';
export { type KnownVisit, Previews } from './previews';
export { portOf, type PreviewTarget } from './preview-address';
