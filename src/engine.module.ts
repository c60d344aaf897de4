import { Global, Module } from '@nestjs/common';
import { CONFIG, type Config } from './config';
import { clusterEngine, DockerEngine } from './docker';
import { ContainerEngine, EngineCalls, EngineIdentity } from './engine';

/** Loaded on demand: the simulator is not part of a production build. */
async function simulatedEngine({ DATABASE_URL, SIMULATION_SPEED }: Config): Promise<ContainerEngine> {
  const { SimulatedEngine } = await import('../packages/simulator/src/simulated-engine.js');
  const file = DATABASE_URL.replace(/^sqlite:/, '');
  return new SimulatedEngine({ folder: file === ':memory:' ? null : `${file}.simulated`, speed: SIMULATION_SPEED });
}

/** Chooses and provides the only {@link ContainerEngine}. The first user of the engine calls `prepare()`. */
@Global()
@Module({
  providers: [
    EngineCalls,
    EngineIdentity,
    {
      provide: ContainerEngine,
      inject: [CONFIG, EngineCalls],
      useFactory: (config: Config, calls: EngineCalls) =>
        config.ENGINE === 'simulated'
          ? simulatedEngine(config)
          : (clusterEngine(config, calls) ?? new DockerEngine(config, calls)),
    },
  ],
  exports: [ContainerEngine, EngineCalls, EngineIdentity],
})
export class EngineModule {}
