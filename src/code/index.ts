export { CodeModule } from './code.module';
export { CodeCollector } from './code-answers';
export { CODE_PORT, CodeRunner, ENVIRONMENT_HEADER } from './code-runner';
export { CODE_TIMEOUT_MS } from './dto';
