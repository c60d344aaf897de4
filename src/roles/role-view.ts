import { ApiProperty } from '@nestjs/swagger';

/** What is installed for a role, by the package manager that the image has. */
export class RolePackagesView {
  @ApiProperty({ type: [String], example: ['nodejs', 'npm'], description: 'On Debian and Ubuntu.' })
  readonly apt: readonly string[];
  @ApiProperty({ type: [String], example: ['nodejs', 'npm'], description: 'On Alpine.' })
  readonly apk: readonly string[];
  @ApiProperty({ type: [String], example: ['nodejs', 'nodejs-npm'], description: 'On Fedora.' })
  readonly dnf: readonly string[];
}

/** A role of the catalogue, as a client sees it. */
export class RoleView {
  @ApiProperty({ example: 'node', description: 'What to write as "role" when creating a container.' })
  readonly name: string;
  @ApiProperty({ example: 'Node.js with npm' })
  readonly description: string;
  @ApiProperty({ type: RolePackagesView })
  readonly packages: RolePackagesView;
  @ApiProperty({ description: 'Whether it is what a container without a role is; one is.' })
  readonly default: boolean;
}

/** What `GET /api/roles` answers. */
export class RoleListView {
  @ApiProperty({ type: [RoleView] })
  readonly roles: readonly RoleView[];
}
