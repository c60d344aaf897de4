import { CustomDecorator, SetMetadata } from '@nestjs/common';

export const PUBLIC = 'berth:public';

/** Opens a route, or all of a controller's routes, to callers without a token. */
export const Public = (): CustomDecorator => SetMetadata(PUBLIC, true);
