export { SshModule } from './ssh.module';
