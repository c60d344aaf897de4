import { Module } from '@nestjs/common';
import { AuthModule } from '../auth';
import { DockerModule } from '../docker';
import { EventsModule } from '../events';
import { ImagesModule } from '../images';
import { TiersModule } from '../tiers';
import { ContainerRepository } from './container.repository';
import { ContainersController } from './containers.controller';
import { ContainersService } from './containers.service';
import { Instance } from './instance';
import { ContainerClaims } from './lifecycle/claims';
import { ContainerLifecycle } from './lifecycle/container-lifecycle';
import { StepExecutor } from './lifecycle/executor';
import { InFlight } from './lifecycle/in-flight';
import { Observer } from './lifecycle/observer';
import { Reconciler } from './lifecycle/reconciler';
import { Recovery } from './lifecycle/recovery';
import { ShutdownDrain } from './lifecycle/shutdown-drain';
import { WayBack } from './lifecycle/way-back';
import { StatusWait } from './status-wait';

/** The lifecycle. Other modules import this one and inject {@link ContainersService}. */
@Module({
  imports: [AuthModule, DockerModule, EventsModule, ImagesModule, TiersModule],
  controllers: [ContainersController],
  providers: [
    ContainersService,
    StatusWait,
    ContainerRepository,
    Instance,
    ContainerClaims,
    ContainerLifecycle,
    StepExecutor,
    Recovery,
    WayBack,
    InFlight,
    Observer,
    Reconciler,
    ShutdownDrain,
  ],
  exports: [ContainersService, StatusWait],
})
export class ContainersModule {}
