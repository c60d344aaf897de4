import { RequestMethod, type Type } from '@nestjs/common';
import { METHOD_METADATA, PATH_METADATA } from '@nestjs/common/constants';
import { ModulesContainer } from '@nestjs/core';
import { AUDITED } from '../../src/audit/request-audit';
import { RouteRegistry } from '../../src/http';
import { Berth } from '../support/servers/berth';
import { FakeEngine } from '../support/fakes/fake-engine';

const WRITING = ['POST', 'PUT', 'PATCH', 'DELETE'];

/** Its tools are audited one by one: test/data/mcp.e2e-spec.ts. */
const BY_TOOL = 'POST /mcp';

/** What E2B has and Berth has not: such requests do nothing. */
const REFUSED = /^(?!GET)\w+ \/e2b\/(?:(?:v2\/|v3\/)?templates|(?:volumes|secrets)(?:\/:id)?)$/;

/** What is looked at inside containers is written down too. */
const INSIDE = /^GET \/api\/containers\/:id\/(processes|terminals|stats|files|archive|env\/)/;

describe('every route that writes, or leads into a container', () => {
  let berth: Berth;

  beforeAll(async () => {
    berth = await Berth.start({ engine: new FakeEngine() });
  });

  afterAll(() => berth.stop());

  it('must be audited', () => {
    const declared = new Map(controllers(berth).flatMap(routesOf));
    const known = berth.app
      .get(RouteRegistry)
      .routes.map(({ method, url }) => `${method} ${url}`)
      .filter((route) => route !== BY_TOOL && !REFUSED.test(route))
      .filter((route) => WRITING.includes(route.split(' ', 1)[0] ?? '') || INSIDE.test(route));
    expect(known.length).toBeGreaterThan(10);
    // A route that no controller declares cannot be audited at all.
    expect(known.filter((route) => !declared.has(route))).toEqual([]);
    expect(known.filter((route) => !/^[a-z]+\.[a-z_]+$/.test(declared.get(route) ?? ''))).toEqual([]);
  });
});

function controllers(berth: Berth): Type[] {
  const modules = [...berth.app.get(ModulesContainer).values()];
  return modules.flatMap((module) => [...module.controllers.values()].map(({ metatype }) => metatype as Type));
}

/** The routes of a controller, each with the action that it is audited as. */
function routesOf(controller: Type): [route: string, action: string | undefined][] {
  const prototype = controller.prototype as Record<string, object>;
  return namesOf(prototype).flatMap((name) => {
    const handler = prototype[name] ?? {};
    const method = RequestMethod[Reflect.getMetadata(METHOD_METADATA, handler) as number];
    if (method === undefined) return [];
    const paths = [Reflect.getMetadata(PATH_METADATA, handler) as string | string[]].flat();
    return paths.map((path): [string, string | undefined] => {
      const base = Reflect.getMetadata(PATH_METADATA, controller) as string;
      const url = ['', ...(base === 'e2b' ? [] : ['api']), base, path].join('/');
      return [
        `${method} ${url.replace(/\/+/g, '/').replace(/\/$/, '')}`,
        Reflect.getMetadata(AUDITED, handler) as string,
      ];
    });
  });
}

/** The names of an object's methods, inherited ones too. */
function namesOf(prototype: object | null): string[] {
  if (!prototype) return [];
  return [...Object.getOwnPropertyNames(prototype), ...namesOf(Object.getPrototypeOf(prototype) as object | null)];
}
