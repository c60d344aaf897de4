export { Draining } from './draining';
export { ErrorResponse } from './error-response.dto';
export { createHttpAdapter } from './http-adapter';
export { HttpModule } from './http.module';
export { createOpenApiDocument } from './openapi';
export { RouteRegistry } from './route-registry';
export type { RegisteredRoute } from './route-registry';
export { setUpHttp } from './set-up-http';
