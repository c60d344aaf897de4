import { IsArray, IsBoolean, IsIn, IsInt, IsObject, IsOptional, IsString, Max, MaxLength, Min } from 'class-validator';
import { AsSent, EnvironmentProperty } from '../containers';
import { QueryInteger } from '../http';

const MAX_TIMEOUT_SECONDS = 2_592_000;
const MOST_COPIES = 10;

/** A body with the seconds until the sandbox's end. */
export class TimeoutDto {
  @IsOptional()
  @IsInt()
  @Min(0)
  @Max(MAX_TIMEOUT_SECONDS)
  timeout?: number;
}

export class ConnectDto extends TimeoutDto {
  @IsOptional()
  @IsBoolean()
  memory?: boolean;

  @IsOptional()
  @IsBoolean()
  autoPause?: boolean;
}

export class RefreshDto {
  @IsOptional()
  @IsInt()
  @Min(0)
  @Max(3600)
  duration?: number;
}

export class PauseDto {
  @IsOptional()
  @IsBoolean()
  memory?: boolean;
}

export class ForkDto extends TimeoutDto {
  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(MOST_COPIES)
  count?: number;
}

export class SnapshotDto {
  @IsOptional()
  @IsString()
  name?: string;
}

/** The network settings of a sandbox; see `networkOf`. */
export class NetworkDto {
  @IsOptional()
  @IsBoolean()
  allow_internet_access?: boolean;

  @IsOptional()
  @IsArray()
  @IsString({ each: true })
  allowOut?: string[];

  @IsOptional()
  @IsArray()
  @IsString({ each: true })
  denyOut?: string[];

  @IsOptional()
  @IsObject()
  @AsSent()
  rules?: object;

  @IsOptional()
  @IsObject()
  @AsSent()
  egressProxy?: object;
}

export class NewSandboxDto extends TimeoutDto {
  @IsString()
  @MaxLength(255)
  templateID: string;

  @IsOptional()
  @IsObject()
  @AsSent()
  metadata?: Record<string, unknown>;

  @EnvironmentProperty({})
  envVars?: Record<string, string>;

  @IsOptional()
  @IsBoolean()
  secure?: boolean;

  @IsOptional()
  @IsBoolean()
  allow_internet_access?: boolean;

  @IsOptional()
  @IsObject()
  @AsSent()
  network?: Record<string, unknown>;

  @IsOptional()
  @IsBoolean()
  autoPause?: boolean;

  @IsOptional()
  @IsBoolean()
  autoPauseMemory?: boolean;

  @IsOptional()
  @IsObject()
  @AsSent()
  autoResume?: { enabled?: unknown };

  @IsOptional()
  @IsObject()
  @AsSent()
  mcp?: object;

  @IsOptional()
  @IsObject()
  @AsSent()
  iam?: object;

  @IsOptional()
  @IsArray()
  @AsSent()
  volumeMounts?: readonly unknown[];
}

export class ListDto {
  @IsOptional()
  @IsString()
  @MaxLength(4096)
  metadata?: string;

  @IsOptional()
  @IsString()
  state?: string;

  @IsOptional()
  @IsString()
  @MaxLength(255)
  template?: string;

  @IsOptional()
  @IsString()
  startedAfter?: string;

  @IsOptional()
  @IsIn(['asc', 'desc'])
  order?: 'asc' | 'desc';

  @QueryInteger({ min: 1, max: 100, default: 100 })
  limit?: number;

  @IsOptional()
  @IsString()
  nextToken?: string;
}

/** An interval in Unix seconds. */
export class MetricsQuery {
  @QueryInteger({ min: 0 })
  start?: number;

  @QueryInteger({ min: 0 })
  end?: number;
}

export class ListSnapshotsQuery {
  @IsOptional()
  @IsString()
  sandboxID?: string;

  @IsOptional()
  @IsString()
  name?: string;

  @QueryInteger({ min: 1, max: 100, default: 100 })
  limit?: number;

  @IsOptional()
  @IsString()
  nextToken?: string;
}
