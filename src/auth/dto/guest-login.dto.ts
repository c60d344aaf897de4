import { ApiProperty } from '@nestjs/swagger';
import { IsString, Matches } from 'class-validator';

const USERNAME = /^[A-Za-z0-9_-]{2,30}$/;

/** What `POST /api/auth/guest` takes. */
export class GuestLoginDto {
  @ApiProperty({ example: 'ada', pattern: USERNAME.source, description: '2 to 30 of letters, digits, "_" and "-".' })
  @IsString()
  @Matches(USERNAME, { message: 'must be 2 to 30 of letters, digits, "_" and "-"' })
  readonly username: string;
}
