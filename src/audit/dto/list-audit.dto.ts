import { ApiPropertyOptional } from '@nestjs/swagger';
import { IsIn, IsOptional, IsString, Matches } from 'class-validator';
import { IsUuidText, PagedQuery } from '../../http';

/** Query of `GET /api/audit`. */
export class ListAuditDto extends PagedQuery {
  @ApiPropertyOptional({ format: 'uuid', description: 'the database id of a container, deleted ones included' })
  @IsOptional()
  @IsUuidText()
  container_id?: string;

  @ApiPropertyOptional({ example: 'container.start' })
  @IsOptional()
  @IsString()
  @Matches(/^[a-z_]{1,32}\.[a-z_]{1,31}$/, { message: 'action must be one such as container.start' })
  action?: string;

  @ApiPropertyOptional({ enum: ['true', 'false'], description: "everybody's; with the scope `admin` alone" })
  @IsOptional()
  @IsIn(['true', 'false'])
  all?: 'true' | 'false';

  @ApiPropertyOptional({ format: 'uuid', description: "that user's; with the scope `admin` alone" })
  @IsOptional()
  @IsUuidText()
  user_id?: string;
}
