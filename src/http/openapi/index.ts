export { createOpenApiDocument, setUpOpenApi } from './document';
export { eventStream } from './schemas';
