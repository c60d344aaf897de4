export { ContainerPorts } from './container-ports';
export { LINK_SECONDS } from './dto';
export { PreviewsModule } from './previews.module';
export { type KnownVisit, type PreviewExtension, PreviewServer } from './preview-server';
export { Previews } from './previews';
export { portOf, type PreviewTarget } from './preview-address';
