import { applyDecorators } from '@nestjs/common';
import { ApiPropertyOptional } from '@nestjs/swagger';
import { ArrayMaxSize, ArrayUnique, IsArray, IsOptional, IsString, Matches } from 'class-validator';
import { Text } from '../../api-fields';
import { printable } from '../../http';
import { MACHINE_WORD, MACHINE_WORD_RULE } from '../agent-protocol';

/** The same rule as for containers. */
const NAME = /^[A-Za-z0-9-]{1,64}$/;
const NAME_RULE = '1 to 64 of A-Z, a-z, 0-9 and "-"';

const TAG = /^[A-Za-z0-9][A-Za-z0-9._:/=-]{0,31}$/;
const MOST_TAGS = 16;

/** An optional name that the agent itself replaces when it connects. */
function MachineWord(example: string): PropertyDecorator {
  const description = `${MACHINE_WORD_RULE}. Overwritten when the agent connects.`;
  return applyDecorators(
    Matches(MACHINE_WORD, { message: MACHINE_WORD_RULE }),
    IsString(),
    IsOptional(),
    ApiPropertyOptional({ type: String, example, description }),
  );
}

/** Body of `POST /api/agents`. */
export class CreateAgentDto {
  @Text(NAME_RULE, { example: 'workstation' })
  @IsString()
  @Matches(NAME, { message: NAME_RULE })
  name: string;

  @Text({ maxLength: 500, example: 'under the desk' })
  @IsOptional()
  @IsString()
  @Matches(printable(500), { message: 'at most 500 printable characters' })
  description?: string | null;

  @MachineWord('linux')
  os?: string | null;

  @MachineWord('x64')
  arch?: string | null;

  @ApiPropertyOptional({ type: [String], example: ['gpu', 'site:home'], maxItems: MOST_TAGS })
  @IsOptional()
  @IsArray({ message: 'must be an array' })
  @IsString({ each: true, message: 'each must be a string' })
  @ArrayMaxSize(MOST_TAGS, { message: `at most ${String(MOST_TAGS)} tags` })
  @ArrayUnique({ message: 'must not contain duplicates' })
  @Matches(TAG, {
    each: true,
    message: '1 to 32 of letters, digits and "._:/=-" each, beginning with a letter or digit',
  })
  tags?: string[] | null;
}
