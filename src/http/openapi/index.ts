export { type AsyncChannel, createAsyncApiDocument } from './async-document';
export { createOpenApiDocument, setUpOpenApi } from './document';
export { eventStream } from './schemas';
