import { Module, OnApplicationBootstrap } from '@nestjs/common';
import { AgentsModule } from '../agents';
import { AuditModule } from '../audit';
import { AuthModule } from '../auth';
import { DockerModule } from '../docker';
import { EventsModule } from '../events';
import { ImagesModule } from '../images';
import { RolesModule } from '../roles';
import { TiersModule } from '../tiers';
import { ClaimTerms } from './claim-term';
import { ClaimWatch } from './claim-watch';
import { ContainerRepository } from './container.repository';
import { ContainersController } from './containers.controller';
import { ContainersService } from './containers.service';
import { DeletedContainers } from './deleted-containers';
import { HeldClaims } from './held-claims';
import { Instance } from './instance';
import { IdempotencyKeys } from './idempotency/idempotency-keys';
import { IdempotencyRetention } from './idempotency/idempotency-retention';
import { ContainerClaims } from './lifecycle/claims';
import { ContainerLifecycle } from './lifecycle/container-lifecycle';
import { Creation } from './lifecycle/creation';
import { DueContainers } from './lifecycle/due-containers';
import { DataVolumes } from './lifecycle/data-volumes';
import { StepExecutor } from './lifecycle/executor';
import { InFlight } from './lifecycle/in-flight';
import { KnownEngine } from './lifecycle/known-engine';
import { LimitsWatch } from './lifecycle/limits-watch';
import { Observer } from './lifecycle/observer';
import { OrphanVolumes } from './lifecycle/orphan-volumes';
import { PlanRunner } from './lifecycle/plan-runner';
import { ProgressReports } from './lifecycle/progress-reports';
import { ProvenImages } from './lifecycle/proven-images';
import { Purge } from './lifecycle/purge';
import { Reconciler } from './lifecycle/reconciler';
import { Recovery } from './lifecycle/recovery';
import { RunLimits } from './lifecycle/run-limits';
import { Restoration } from './lifecycle/restoration';
import { Resumption } from './lifecycle/resumption';
import { RollbackRetries } from './lifecycle/rollback-retries';
import { ShutdownDrain } from './lifecycle/shutdown-drain';
import { WayBack } from './lifecycle/way-back';
import { RoleInstallation } from './roles/role-installation';
import { RoleInstaller } from './roles/role-installer';
import { RoleRepository } from './roles/role.repository';
import { ContainerGauge } from './measuring/container-gauge';
import { OperationMetrics } from './measuring/operation-metrics';
import { SweepMetrics } from './measuring/sweep-metrics';
import { ContainersOperator } from './operator.service';
import { StatusWait } from './status-wait';

/** The lifecycle. Other modules import this one and inject {@link ContainersService}. */
@Module({
  imports: [AuditModule, AgentsModule, AuthModule, DockerModule, EventsModule, ImagesModule, RolesModule, TiersModule],
  controllers: [ContainersController],
  providers: [
    ContainersService,
    ContainersOperator,
    StatusWait,
    ContainerRepository,
    DeletedContainers,
    IdempotencyKeys,
    IdempotencyRetention,
    Instance,
    ContainerGauge,
    OperationMetrics,
    SweepMetrics,
    ClaimTerms,
    HeldClaims,
    ContainerClaims,
    ClaimWatch,
    Resumption,
    ContainerLifecycle,
    Creation,
    PlanRunner,
    ProgressReports,
    DataVolumes,
    OrphanVolumes,
    ProvenImages,
    StepExecutor,
    Recovery,
    WayBack,
    InFlight,
    KnownEngine,
    Observer,
    Purge,
    Restoration,
    Reconciler,
    RollbackRetries,
    ShutdownDrain,
    RunLimits,
    DueContainers,
    LimitsWatch,
    RoleRepository,
    RoleInstallation,
    RoleInstaller,
  ],
  exports: [ContainersService, ContainersOperator, StatusWait],
})
export class ContainersModule implements OnApplicationBootstrap {
  constructor(
    private readonly limitsWatch: LimitsWatch,
    private readonly roleInstaller: RoleInstaller,
    private readonly claimWatch: ClaimWatch,
  ) {}

  /** Called when all of the module's providers have had their turn, so Docker is prepared. */
  async onApplicationBootstrap(): Promise<void> {
    await this.limitsWatch.start();
    await this.roleInstaller.start();
    this.claimWatch.start();
  }
}
