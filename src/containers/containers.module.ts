import { Module, OnApplicationBootstrap } from '@nestjs/common';
import { AgentsModule } from '../agents';
import { AuditModule } from '../audit';
import { AuthModule } from '../auth';
import { EventsModule } from '../events';
import { ImagesModule } from '../images';
import { RolesModule } from '../roles';
import { IdempotencyModule } from '../idempotency';
import { SecretsModule } from '../secrets';
import { TiersModule } from '../tiers';
import { UsageModule } from '../usage';
import { Capacity } from './capacity/capacity';
import { IdleSandboxes } from './capacity/idle-sandboxes';
import { CapacityHistory } from './nodes/capacity-history';
import { Placement } from './capacity/placement';
import { ReservedCapacity } from './rows/reserved-capacity';
import { RunningContainers } from './rows/running-containers';
import { ContainerAccess, ContainerRights } from './access/container-access';
import { ContainerUsage } from './access/container-usage';
import { ContainerViews } from './container-views';
import { ContainerRepository } from './rows/container.repository';
import { ContainerGauge } from './rows/container-gauge';
import { ContainersAdminService } from './containers-admin.service';
import { ContainersController } from './containers.controller';
import { ContainersService } from './containers.service';
import { Creation, WarmCreation } from './creation/creation';
import { Insertion } from './creation/insertion';
import { CreationSources, Specifications } from './creation/specification';
import { SlotMaker } from './warm/slot-maker';
import { SlotWatch } from './warm/slot-watch';
import { WarmFiller } from './warm/warm-filler';
import { WarmPool } from './warm/warm-pool';
import { WarmRoom } from './warm/warm-room';
import { WarmWants } from './warm/warm-wants';
import { WarmSlots } from './rows/warm-slots';
import { DeletedContainers } from './rows/deleted-containers';
import { Environments } from './rows/environments';
import { ExpiryQueries } from './expiry/expiry-queries';
import { ExpiryWatcher } from './expiry/expiry-watcher';
import { RunPolicies } from './policies/run-policy';
import { Instance } from './rows/instance';
import { CopyTurns } from './leases/copy-turns';
import { LeaseStore } from './leases/lease-store';
import { LeaseTerms } from './leases/lease-term';
import { LeaseWatch } from './reconcile/lease-watch';
import { ContainerLeases } from './operations/container-leases';
import { NetworkPolicies } from './policies/network-policies';
import { DataVolumes } from './operations/data-volumes';
import { ContainerSpecs, StepExecutor } from './operations/executor';
import { OperationRunner } from './operations/operation-runner';
import { RunningWork } from './operations/running-work';
import { CreationPlacement } from './operations/creation-placement';
import { OperationContext } from './operations/operation';
import { ProvenImages } from './operations/proven-images';
import { Recovery } from './operations/recovery';
import { Restoration } from './restoration';
import { RecoveryQueue } from './reconcile/recovery-queue';
import { Inventory, OrphanVolumes } from './reconcile/inventory';
import { Evacuation } from './moves/evacuation';
import { Moves } from './moves/moves';
import { NodeMetrics } from './nodes/node-metrics';
import { NodeRepository } from './nodes/node.repository';
import { NodeWatch } from './nodes/node-watch';
import { SickNodes } from './capacity/sick-nodes';
import { NodesAdmin } from './nodes/nodes-admin';
import { KnownEngine } from './nodes/known-engine';
import { PendingRemovals } from './reconcile/pending-removals';
import { Purge } from './operations/purge';
import { SweepMetrics } from './reconcile/reconcile-stats';
import { Reconciler } from './reconcile/reconciler';
import { Repairs } from './reconcile/repairs';
import { Sweep } from './reconcile/sweep';
import { UnusedImages } from './reconcile/unused-images';
import { ContainerWatcher } from './reconcile/watcher';
import { RoleInstallation } from './roles/role-installation';
import { RoleInstaller } from './roles/role-installer';
import { RoleRepository } from './roles/role.repository';
import { Forks } from './creation/forks';
import { SnapshotRestoration } from './snapshots/snapshot-restoration';
import { SnapshotWait } from './snapshots/snapshot-wait';
import { SnapshotAccess } from './snapshots/snapshot-access';
import { SnapshotCreation, SnapshotMaking } from './snapshots/snapshot-making';
import { TemplateFiles } from './snapshots/template-files';
import { TemplatesService } from './templates.service';
import { SnapshotRemoval } from './snapshots/snapshot-removal';
import { SnapshotRepository } from './rows/snapshot.repository';
import { SnapshotsController } from './snapshots.controller';
import { SnapshotsService } from './snapshots.service';
import { SandboxProver } from './sandbox-prover';
import { StartCommandRuns } from './rows/start-command-runs';
import { StatusWait } from './status-wait';

/** The container lifecycle. Other modules import this module and inject {@link ContainersService}. */
@Module({
  imports: [
    AuditModule,
    AgentsModule,
    AuthModule,
    EventsModule,
    IdempotencyModule,
    ImagesModule,
    RolesModule,
    SecretsModule,
    TiersModule,
    UsageModule,
  ],
  controllers: [ContainersController, SnapshotsController],
  providers: [
    ContainersService,
    ContainersAdminService,
    StatusWait,
    StartCommandRuns,
    Capacity,
    IdleSandboxes,
    CapacityHistory,
    ReservedCapacity,
    RunningContainers,
    ContainerAccess,
    ContainerViews,
    ContainerUsage,
    NetworkPolicies,
    Specifications,
    Creation,
    Insertion,
    WarmCreation,
    WarmSlots,
    WarmWants,
    WarmRoom,
    SlotMaker,
    SlotWatch,
    WarmFiller,
    WarmPool,
    ContainerRepository,
    DeletedContainers,
    Environments,
    Instance,
    ContainerGauge,
    SweepMetrics,
    LeaseTerms,
    LeaseStore,
    CopyTurns,
    ContainerLeases,
    LeaseWatch,
    RecoveryQueue,
    OperationContext,
    OperationRunner,
    Placement,
    RunningWork,
    CreationPlacement,
    DataVolumes,
    Inventory,
    OrphanVolumes,
    ProvenImages,
    ContainerSpecs,
    StepExecutor,
    Recovery,
    KnownEngine,
    ContainerWatcher,
    PendingRemovals,
    Purge,
    ContainerRights,
    Restoration,
    Repairs,
    Sweep,
    Reconciler,
    UnusedImages,
    RunPolicies,
    ExpiryQueries,
    ExpiryWatcher,
    RoleRepository,
    RoleInstallation,
    RoleInstaller,
    SandboxProver,
    SnapshotRepository,
    SnapshotCreation,
    Forks,
    SnapshotRestoration,
    SnapshotWait,
    SnapshotAccess,
    SnapshotMaking,
    SnapshotRemoval,
    SnapshotsService,
    TemplateFiles,
    TemplatesService,
    CreationSources,
    NodeRepository,
    NodeWatch,
    SickNodes,
    NodesAdmin,
    NodeMetrics,
    Moves,
    Evacuation,
  ],
  exports: [
    DeletedContainers,
    WarmPool,
    NodesAdmin,
    Moves,
    SnapshotsService,
    Forks,
    SnapshotRestoration,
    TemplatesService,
    ContainersService,
    ContainersAdminService,
    StatusWait,
    Capacity,
    CapacityHistory,
    StartCommandRuns,
    RunningContainers,
  ],
})
export class ContainersModule implements OnApplicationBootstrap {
  constructor(
    private readonly limitsWatch: ExpiryWatcher,
    private readonly roleInstaller: RoleInstaller,
    private readonly leaseWatch: LeaseWatch,
    private readonly evacuation: Evacuation,
    private readonly warmFiller: WarmFiller,
    private readonly capacity: Capacity,
    private readonly history: CapacityHistory,
  ) {}

  /** Runs after the hooks of all the module's providers, when Docker is prepared. */
  async onApplicationBootstrap(): Promise<void> {
    await this.warmFiller.start();
    await this.limitsWatch.start();
    await this.roleInstaller.start();
    this.leaseWatch.start();
    this.evacuation.start();
    this.history.start();
    this.capacity.relieveWith(() => this.warmFiller.relieve());
  }
}
