/**
 * The limit of what Berth's frameworks allow: a bare Nest controller on Fastify behind a guard of passport's bearer
 * strategy, which does no more for the same answer than `bare-route.mjs`. Run as a process of its own: DATABASE_URL,
 * ANSWER (the body).
 */
import 'reflect-metadata';
import { createHash } from 'node:crypto';
import { Controller, Get, Module, Param, Req, UseGuards } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { AuthGuard, PassportStrategy } from '@nestjs/passport';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Strategy } from 'passport-http-bearer';
import { connect } from './lib/bare-query.mjs';

const answer = JSON.parse(process.env.ANSWER);
const find = await connect(process.env.DATABASE_URL);

class BearerStrategy extends PassportStrategy(Strategy) {
  validate(token) {
    return { hash: createHash('sha256').update(token).digest('hex') };
  }
}

/** Plain JavaScript has no decorators: they are called. */
class Containers {
  async get(id, request) {
    return (await find(request.user.hash, id)) ? answer : {};
  }
}
const handler = Object.getOwnPropertyDescriptor(Containers.prototype, 'get');
Get(':id')(Containers.prototype, 'get', handler);
UseGuards(AuthGuard('bearer'))(Containers.prototype, 'get', handler);
Param('id')(Containers.prototype, 'get', 0);
Req()(Containers.prototype, 'get', 1);
Controller('api/containers')(Containers);

class Bare {}
Module({ controllers: [Containers], providers: [BearerStrategy] })(Bare);

const app = await NestFactory.create(Bare, new FastifyAdapter(), { logger: false });
await app.listen(0, '127.0.0.1');
process.send?.({ url: await app.getUrl() });
process.on('disconnect', () => process.exit(0));
