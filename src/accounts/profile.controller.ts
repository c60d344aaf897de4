import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { CurrentPrincipal, type Principal, Scopes } from '../auth';
import { profileUser, ProfileView, ValidatedTokenView } from './dto/profile-view';

/** Who the caller is, where clients of Rexec ask for it when they log in. {@link MeController} tells more. */
@Controller()
@Scopes('read')
export class ProfileController {
  @Get('profile')
  @ApiTags('me')
  @ApiOperation({ summary: 'Who you are, as clients of Rexec ask for it' })
  @ApiOkResponse({ type: ProfileView })
  profile(@CurrentPrincipal() caller: Principal): ProfileView {
    return { user: profileUser(caller) };
  }

  @Get('tokens/validate')
  @ApiTags('tokens')
  @ApiOperation({ summary: 'Whether the token is valid, and whose it is, as clients of Rexec ask for it' })
  @ApiOkResponse({ type: ValidatedTokenView })
  validate(@CurrentPrincipal() caller: Principal): ValidatedTokenView {
    return Object.assign(profileUser(caller), { valid: true, user_id: caller.userId, scopes: caller.scopes } as const);
  }
}
