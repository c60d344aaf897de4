import { type DescFile, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { readFileSync } from 'node:fs';
import { file_filesystem } from '../../src/e2b/envd/generated/filesystem_pb';
import { file_process } from '../../src/e2b/envd/generated/process_pb';

/** A file as lines that do not depend on how it is formatted: `path: what`. */
type Lines = string[];

/** Reads the part of protobuf's language that the files use: a statement a line, blocks in braces. */
function linesOf(text: string): Lines {
  const lines: Lines = [];
  const scope: string[] = [];
  for (const statement of text.split('\n').map((line) => line.replace(/\/\/.*/, '').trim())) {
    const [, block] = /^(?:service|message|enum|oneof) (\w+) \{\}?$/.exec(statement) ?? [];
    const [, rpc, input, stream, output] =
      /^rpc (\w+)\((stream \w+|\w+)\) returns \((stream )?(\w+)\);$/.exec(statement) ?? [];
    const [, type, field, number] = /^(.*\S) (\w+) = (\d+);$/.exec(statement) ?? [];
    const [, value, at] = /^(\w+) = (\d+);$/.exec(statement) ?? [];
    const path = scope.join('.');
    if (block !== undefined) {
      if (statement.startsWith('message')) lines.push(`message ${[...scope, block].join('.')}`);
      if (!statement.endsWith('}')) scope.push(block);
    } else if (statement === '}') scope.pop();
    else if (rpc !== undefined) lines.push(`${path}.${rpc}: ${String(input)} ${stream ?? ''}${String(output)}`);
    else if (field !== undefined)
      lines.push(`${path}.${field}: ${String(type).replace(/^.*\.(\w+)$/, '$1')} ${String(number)}`);
    else if (value !== undefined) lines.push(`${path}.${value}: ${String(at)}`);
  }
  return lines.toSorted();
}

function linesOfCode(file: DescFile): Lines {
  const lines: Lines = [];
  for (const { name, methods } of file.services) {
    for (const { name: method, input, output, methodKind } of methods) {
      const [from, to] = [/client/.test(methodKind) ? 'stream ' : '', /server/.test(methodKind) ? 'stream ' : ''];
      lines.push(`${name}.${method}: ${from}${input.name} ${to}${output.name}`);
    }
  }
  for (const { name, values } of file.enums) {
    for (const value of values) lines.push(`${name}.${value.name}: ${String(value.number)}`);
  }
  for (const message of file.messages) addMessage(message, message.name, lines);
  return lines.toSorted();
}

function addMessage(message: DescMessage, path: string, lines: Lines): void {
  lines.push(`message ${path}`);
  for (const nested of message.nestedMessages) addMessage(nested, `${path}.${nested.name}`, lines);
  for (const field of message.fields) {
    const kindOf = (): string => {
      const scalar = (type: ScalarType | undefined): string => ScalarType[type ?? 0]?.toLowerCase() ?? '';
      if (field.fieldKind === 'map') return `map<${scalar(field.mapKey)}, ${scalar(field.scalar)}>`;
      const single = field.message?.name ?? field.enum?.name ?? scalar(field.scalar);
      return field.fieldKind === 'list' ? `repeated ${single}` : single;
    };
    const isOptional = field.oneof === undefined && field.proto.proto3Optional;
    const within = field.oneof && !field.proto.proto3Optional ? `${path}.${field.oneof.name}` : path;
    lines.push(`${within}.${field.name}: ${isOptional ? 'optional ' : ''}${kindOf()} ${String(field.number)}`);
  }
}

describe("the code of envd's interface", () => {
  it.each([
    ['process', file_process],
    ['filesystem', file_filesystem],
  ] as const)('is that of %s.proto', (name, file) => {
    expect(linesOfCode(file)).toEqual(linesOf(readFileSync(`src/e2b/envd/proto/${name}.proto`, 'utf8')));
  });
});
