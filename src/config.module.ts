import { DynamicModule, Module } from '@nestjs/common';
import { Clock } from './clock';
import { Config, CONFIG } from './config';

/** Offers the validated settings by the token {@link CONFIG}, and the {@link Clock}. */
@Module({})
export class ConfigModule {
  static forRoot(config: Config): DynamicModule {
    return {
      module: ConfigModule,
      global: true,
      providers: [{ provide: CONFIG, useValue: config }, Clock],
      exports: [CONFIG, Clock],
    };
  }
}
