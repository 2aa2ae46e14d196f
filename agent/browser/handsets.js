// A gateway and handsets of the tests' own: the real programs, on free ports, in a folder that is gone afterwards.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const { EVERLINE_BIN } = process.env;
assert.ok(EVERLINE_BIN, 'EVERLINE_BIN must say where gateway and agent are: run.sh does');

const DEADLINE_MS = 60_000;
const folder = mkdtempSync(join(tmpdir(), 'everline-owner.'));
const children = new Set();
let gateway;
let handsets = 0;

// Waits until something holds that nothing announces.
export async function until(what, holds) {
  const end = Date.now() + DEADLINE_MS;
  for (;;) {
    const value = await holds();
    if (value) return value;
    assert.ok(Date.now() < end, `in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = [];
  for (const server of servers) {
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    ports.push(server.address().port);
  }
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  return ports;
}

function start(name, program, ...args) {
  const log = openSync(join(folder, `${name}.log`), 'a');
  const child = spawn(join(EVERLINE_BIN, program), args, { cwd: folder, stdio: ['ignore', log, log] });
  children.add(child);
  child.on('exit', () => children.delete(child));
  return child;
}

const read = (name) => {
  try {
    return readFileSync(join(folder, name), 'utf8');
  } catch {
    return '';
  }
};

async function startGateway() {
  execFileSync(join(EVERLINE_BIN, 'gateway'), ['keygen', '--out', join(folder, 'keys')]);
  const [signaling, data, ingress, admin] = await freePorts(4);
  writeFileSync(join(folder, 'gateway.toml'), `
[signaling]
listen = "127.0.0.1:${signaling}"
[data]
listen = "127.0.0.1:${data}"
advertise = "127.0.0.1:${data}"
[ingress]
listen = "127.0.0.1:${ingress}"
domains = ["localhost"]
[auth]
jwks_file = "keys/jwks.json"
[store]
path = "store"
[admin]
listen = "127.0.0.1:${admin}"
[drain]
spread_ms = 0
finish_ms = 1000
`);
  start('gateway', 'gateway', 'run', '--config', 'gateway.toml');
  await until('the gateway', () => fetch(`http://127.0.0.1:${admin}/readyz`).then((answer) => answer.ok, () => false));
  return { signaling, data, ingress, admin };
}

// A handset with the owner's screen, registered. `tables` stand behind its configuration.
export async function handset({ tables = '', users = { alice: 'wonderland' }, top = '' } = {}) {
  gateway ??= startGateway();
  const { signaling, data, ingress, admin } = await gateway;
  handsets += 1;
  const msisdn = `3460000${String(handsets).padStart(4, '0')}`;
  const [port] = await freePorts(1);
  const token = execFileSync(join(EVERLINE_BIN, 'gateway'), ['token', '--key', join(folder, 'keys', 'private.jwks.json'), '--msisdn', msisdn], { encoding: 'utf8' });
  writeFileSync(join(folder, `${msisdn}.token`), token, { mode: 0o600 });
  const config = `${msisdn}.toml`;
  const all = Object.entries(users).map(([name, password]) => `[[user]]\nname = ${JSON.stringify(name)}\npassword = ${JSON.stringify(password)}\n`);
  writeFileSync(join(folder, config), `
msisdn = "${msisdn}"
token_file = "${msisdn}.token"
gateways = ["127.0.0.1:${signaling}"]
data_port = ${data}
${top}
${all.join('')}
[builtin]
database = "${msisdn}.db"
[owner]
listen = "127.0.0.1:${port}"
${tables}
`);
  const origin = `http://127.0.0.1:${port}`;
  let child;
  const run = async () => {
    child = start(msisdn, 'agent', 'run', '--config', config);
    await until(`${msisdn} registers`, async () => {
      assert.equal(child.exitCode, null, `the agent ended: ${read(`${msisdn}.log`)}`);
      return fetch(`http://127.0.0.1:${admin}/sessions/${msisdn}`).then((answer) => answer.ok, () => false);
    });
  };
  const kill = async () => {
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
    await until('the gateway notices', () => fetch(`http://127.0.0.1:${admin}/sessions/${msisdn}`).then((answer) => !answer.ok, () => true));
  };
  await run();
  const secret = read(`${msisdn}.owner.secret`).trim();

  // A remote user's request through the gateway, to the end of its answer.
  const call = (method, path, body, { user = 'alice', password = users[user], agent } = {}) => new Promise((resolve, reject) => {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const request = http.request({
      host: '127.0.0.1', port: ingress, method, path: `/${msisdn}${path}`, agent,
      headers: {
        host: `localhost:${ingress}`,
        authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
        ...(text !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
      },
    }, (answer) => {
      let told = '';
      answer.setEncoding('utf8');
      answer.on('data', (piece) => { told += piece; });
      answer.on('end', () => resolve({ status: answer.statusCode, text: told, slug: slug(told) }));
      answer.on('error', reject);
    });
    request.on('error', reject);
    request.end(text);
  });

  // The owner's API, as a script with the secret uses it.
  const owner = async (method, path, body) => {
    const answer = await fetch(`${origin}${path}`, {
      method,
      headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const told = await answer.text();
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${told}`);
    return told ? JSON.parse(told) : undefined;
  };
  return { msisdn, origin, secret, call, owner, run, kill, log: () => read(`${msisdn}.log`) };
}

function slug(text) {
  try {
    return (JSON.parse(text).type ?? '').split(':').at(-1);
  } catch {
    return '';
  }
}

export async function endAll() {
  for (const child of [...children].reverse()) {
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), 10_000);
    await gone;
    clearTimeout(late);
  }
  rmSync(folder, { recursive: true, force: true });
}
