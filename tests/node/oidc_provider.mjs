// A real OpenID provider (npm oidc-provider) on a loopback port, for tests.
//
//   node oidc_provider.mjs [--cert FILE --key FILE]     https with this certificate; http without
//
// Prints one JSON line {"url": ISSUER} when it serves. Then each line on stdin is a command, answered by one JSON line:
//
//   {"cmd": "id_token", "alg": "RS256", "claims": {…}}  logs a person with these claims in, by the authorization-code flow
//                                                       over HTTP; answers {"token"}. "sub" names the person.
//   {"cmd": "workload_token", "claims": {…}}            a JWT access token (RS256) by the client-credentials flow
//   {"cmd": "rotate", "keep": true}                     new signing keys; the old ones stay published if "keep"
//   {"cmd": "fault", "kind": KIND}                      how discovery and key set answer from now on: "none", "status",
//                                                       "html", "redirect", "huge", "issuer", "silent"
//   {"cmd": "hits"}                                     answers {"discovery", "jwks"}: how often each was asked
//
// A failed command answers {"error"}. Ends when stdin does.
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { Provider } from 'oidc-provider';

const DISCOVERY = '/.well-known/openid-configuration';
const JWKS = '/jwks';
const REDIRECT = 'https://client.example/callback';
const SECRET = 'not-a-secret';
const AUDIENCE = 'postern';
const ALGORITHMS = ['RS256', 'PS256', 'ES256'];

// The library reports its development settings on stderr and stdout; stdout is ours alone.
console.info = console.warn = console.log = () => {};

const { values: args } = parseArgs({ options: { cert: { type: 'string' }, key: { type: 'string' } } });

const people = new Map();
let workloadClaims = {};
let keys = [];
let fault = 'none';
const hits = { discovery: 0, jwks: 0 };
let issuer;
let handle;

function newKeys() {
  const jwk = (type, options) => {
    const { privateKey } = generateKeyPairSync(type, options);
    return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig' };
  };
  return [jwk('rsa', { modulusLength: 2048 }), jwk('ec', { namedCurve: 'P-256' })];
}

function serve() {
  const provider = new Provider(issuer, {
    jwks: { keys },
    clients: ALGORITHMS.map((alg) => ({
      client_id: `${AUDIENCE}-${alg}`,
      client_secret: SECRET,
      redirect_uris: [REDIRECT],
      grant_types: ['authorization_code', 'client_credentials'],
      id_token_signed_response_alg: alg,
    })),
    enabledJWA: { idTokenSigningAlgValues: ALGORITHMS },
    conformIdTokenClaims: false,
    pkce: { required: () => false },
    cookies: { keys: ['tests'] },
    claims: { openid: ['sub'], all: ['email', 'email_verified', 'groups', 'name'] },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...people.get(id) }) }),
    extraTokenClaims: () => workloadClaims,
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: (ctx) => (ctx.oidc.params.grant_type === 'client_credentials' ? `urn:${AUDIENCE}` : undefined),
        getResourceServerInfo: () => ({ scope: 'api', audience: AUDIENCE, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } }),
      },
    },
  });
  handle = provider.callback();
}

// Answers wrongly if that was asked for. True if it did.
function misbehave(request, response) {
  const path = new URL(request.url, issuer).pathname;
  if (path === DISCOVERY) hits.discovery += 1;
  if (path === JWKS) hits.jwks += 1;
  if (fault === 'none' || (path !== DISCOVERY && path !== JWKS)) return false;
  const answers = {
    status: () => response.writeHead(503).end('{}'),
    html: () => response.writeHead(200, { 'content-type': 'text/html' }).end('<html>Sign in to the wifi</html>'),
    redirect: () => response.writeHead(302, { location: `${issuer}/elsewhere` }).end(),
    huge: () => response.writeHead(200).end(`{"keys":[],"pad":"${'x'.repeat(1 << 20)}"}`),
    issuer: () => response.writeHead(200).end(JSON.stringify({ issuer: 'https://other.example', jwks_uri: `${issuer}${JWKS}` })),
    silent: () => {},
  };
  answers[fault]();
  return true;
}

// Debian 12's Node joins the headers into one; a comma within an Expires is followed by no name.
function setCookies(headers) {
  return headers.getSetCookie?.() ?? (headers.get('set-cookie') ?? '').split(/,(?=\s*[^\s;,=]+=)/).map((line) => line.trim());
}

// A browser as far as the flow needs one: cookies, no scripts, redirects followed by hand.
class Browser {
  cookies = new Map();

  async request(url, options = {}) {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(url, { redirect: 'manual', ...options, headers: { cookie, ...options.headers } });
    for (const line of setCookies(response.headers)) {
      const [name, ...value] = line.split(';')[0].split('=');
      this.cookies.set(name, value.join('='));
    }
    const location = response.headers.get('location');
    return { response, location: location && new URL(location, url).href };
  }
}

function clientAuthorization(alg) {
  return { authorization: `Basic ${Buffer.from(`${AUDIENCE}-${alg}:${SECRET}`).toString('base64')}` };
}

async function askForToken(alg, parameters) {
  const response = await fetch(`${issuer}/token`, {
    method: 'POST',
    headers: clientAuthorization(alg),
    body: new URLSearchParams(parameters),
  });
  const body = await response.json();
  if (!response.ok) throw new Error(`token endpoint: ${JSON.stringify(body)}`);
  return body;
}

async function idToken({ alg = 'RS256', claims }) {
  people.set(claims.sub, claims);
  const browser = new Browser();
  const query = new URLSearchParams({
    client_id: `${AUDIENCE}-${alg}`, response_type: 'code', redirect_uri: REDIRECT, scope: 'openid all',
  });
  let { response, location } = await browser.request(`${issuer}/auth?${query}`);
  // The login page, the consent page, and redirects between them; more steps than this are none of the flow's.
  for (let step = 0; step < 10 && !location?.startsWith(REDIRECT); step += 1) {
    if (!location) throw new Error(`authorization ended with status ${response.status}`);
    const page = location;
    ({ response, location } = await browser.request(page));
    if (location) continue;
    const prompt = /name="prompt" value="(\w+)"/.exec(await response.text())?.[1];
    const body = new URLSearchParams({ prompt, login: claims.sub, password: 'any' });
    ({ response, location } = await browser.request(page, { method: 'POST', body }));
  }
  const code = new URL(location).searchParams.get('code');
  const tokens = await askForToken(alg, { grant_type: 'authorization_code', code, redirect_uri: REDIRECT });
  return { token: tokens.id_token };
}

async function workloadToken({ claims }) {
  workloadClaims = claims;
  const tokens = await askForToken('RS256', { grant_type: 'client_credentials', scope: 'api' });
  return { token: tokens.access_token };
}

const commands = {
  id_token: idToken,
  workload_token: workloadToken,
  rotate: ({ keep }) => {
    // New ones first: the provider signs with the first that fits.
    keys = [...newKeys(), ...(keep ? keys : [])];
    serve();
    return {};
  },
  fault: ({ kind }) => {
    fault = kind;
    return {};
  },
  hits: () => hits,
};

function answer(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

const listener = (request, response) => {
  if (!misbehave(request, response)) handle(request, response);
};
const server = args.cert
  ? createHttpsServer({ cert: readFileSync(args.cert), key: readFileSync(args.key) }, listener)
  : createHttpServer(listener);
server.listen(0, '127.0.0.1', async () => {
  issuer = `${args.cert ? 'https' : 'http'}://127.0.0.1:${server.address().port}`;
  keys = newKeys();
  serve();
  answer({ url: issuer });
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      const { cmd, ...parameters } = JSON.parse(line);
      answer(await commands[cmd](parameters));
    } catch (error) {
      answer({ error: [error, error.cause].filter(Boolean).join(': ') });
    }
  }
  process.exit(0);
});
