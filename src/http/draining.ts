import { Injectable, OnModuleDestroy } from '@nestjs/common';

/** Whether this process is about to end: it finishes what it has begun and takes nothing new. */
@Injectable()
export class Draining implements OnModuleDestroy {
  private draining = false;

  get begun(): boolean {
    return this.draining;
  }

  begin(): void {
    this.draining = true;
  }

  /** The first thing that happens when the application is closed. */
  onModuleDestroy(): void {
    this.begin();
  }
}
