import { Module } from '@nestjs/common';
import { AuditModule } from '../audit';
import { AuthModule } from '../auth';
import { ContainersModule } from '../containers';
import { CodeAnswers } from './code-answers';
import { CodeController } from './code.controller';
import { CodeRunner } from './code-runner';

/** Code that kernels run in containers of the image `code`. */
@Module({
  imports: [AuditModule, AuthModule, ContainersModule],
  controllers: [CodeController],
  providers: [CodeRunner, CodeAnswers],
  exports: [CodeRunner],
})
export class CodeModule {}
