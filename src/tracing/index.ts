export { inSpan } from './spans';
export { setUpTracing } from './tracing';
