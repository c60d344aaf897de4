import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsInt, IsOptional, IsString, Matches, Max, Min } from 'class-validator';
import { Text, Timestamp } from '../../api-fields';
import type { SignIn } from '../../auth';
import { MeUserView } from './responses';
import { CreatedTokenView, viewToken } from './tokens';

/** Default lifetime of a code, in seconds. */
export const CODE_SECONDS = 300;

/** Body of `POST /api/auth/codes`. */
export class CreateSignInCodeDto {
  @ApiPropertyOptional({
    type: 'integer',
    default: CODE_SECONDS,
    description: 'Lifetime of the code in seconds: 30 to 3600.',
  })
  @IsOptional()
  @IsInt({ message: 'must be a whole number of seconds' })
  @Min(30, { message: 'must be at least 30' })
  @Max(3600, { message: 'must be at most 3600' })
  readonly expires_in?: number | null;
}

/** The answer of `POST /api/auth/codes`. */
export class SignInCodeView {
  @Text('Shown only once. Can be used once.', { example: 'k3yq0Yw2mJx6l4bq8Zb0sV1nQ5tR7uWd' })
  readonly code: string;
  @Timestamp() readonly expires_at: string;
}

/** Body of `POST /api/auth/sign-in`. */
export class SignInDto {
  @Text({ example: 'k3yq0Yw2mJx6l4bq8Zb0sV1nQ5tR7uWd' })
  @IsString()
  @Matches(/^[A-Za-z0-9_-]{1,128}$/, { message: 'must be a valid sign-in code' })
  readonly code: string;
}

/** The answer of `POST /api/auth/sign-in`: the session's token and its user. */
export class SignInView extends CreatedTokenView {
  @ApiProperty({ type: MeUserView }) readonly user: MeUserView;
}

export function viewSignIn({ token, text, user: { id, username, tier } }: SignIn): SignInView {
  return Object.assign(viewToken(token), { token: text, user: { id, username, tier } });
}
