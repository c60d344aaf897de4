import { DynamicModule, Module } from '@nestjs/common';
import { Config, CONFIG } from './config';

/** Offers the validated settings by the token {@link CONFIG}. */
@Module({})
export class ConfigModule {
  static forRoot(config: Config): DynamicModule {
    return {
      module: ConfigModule,
      global: true,
      providers: [{ provide: CONFIG, useValue: config }],
      exports: [CONFIG],
    };
  }
}
