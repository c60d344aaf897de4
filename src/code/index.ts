export { CodeModule } from './code.module';
export { CODE_PORT, CodeRunner, ENVIRONMENT_HEADER } from './code-runner';
export { CodeCollector } from './code-answers';
export { CODE_TIMEOUT_MS, RunCodeDto } from './dto';
