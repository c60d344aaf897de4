export { Secrets, SecretsError } from './secrets';
export { SecretsModule } from './secrets.module';
