// Stands in for soketi's `src/server.ts` in soketi's own tests: starts a roostd with a configuration made of the options
// of a case, and answers what a case asks of the server's tables by asking the daemon (scripts/soketi_tests.py).

import { ChildProcess, execFileSync, spawn } from 'child_process';
import * as fs from 'fs';
import * as http from 'http';
import * as net from 'net';
import * as os from 'os';
import * as path from 'path';

const { ROOSTD, ROOST_DRIVER, ROOST_API_PORT } = process.env;
const START_MS = 20_000;
const API_KEY = 'tests';
/** The SHA-256 of that. */
const API_KEY_DIGEST = '59830ebc3a4184110566bf1a290d08473dfdcbd492ce498b14cd1a5e2fa2e441';
/** What these names stand for where a case says nothing: soketi's defaults, and what its tests are run with. */
const DEFAULTS = {
    port: 6001,
    'appManager.array.apps.0.id': 'app-id',
    'appManager.array.apps.0.key': 'app-key',
    'appManager.array.apps.0.secret': 'app-secret',
    'appManager.array.apps.0.enabled': true,
    'appManager.array.apps.0.enableClientMessages': false,
    'appManager.array.apps.0.enableUserAuthentication': false,
    'appManager.array.apps.0.maxConnections': -1,
    'appManager.array.apps.0.webhooks': [],
    userAuthenticationTimeout: 30_000,
    'channelLimits.maxNameLength': 200,
    'eventLimits.maxChannelsAtOnce': 100,
    'eventLimits.maxNameLength': 200,
    'eventLimits.maxPayloadInKb': 100,
    'httpApi.requestLimitInMb': 100,
    'presence.maxMemberSizeInKb': 2,
    'presence.maxMembersPerChannel': 100,
};

export class Server {
    public options: any = {};
    public adapter = new Adapter(this);
    private given: any;
    private daemon: ChildProcess;
    private directory = fs.mkdtempSync(path.join(os.tmpdir(), 'roost-soketi-'));

    constructor(given = {}) {
        this.given = { ...DEFAULTS, ...given };
        for (const [name, value] of Object.entries(this.given)) {
            place(this.options, name.split('.'), value);
        }
    }

    async start(callback: (server: Server) => void) {
        const secret = path.join(this.directory, 'secret');
        fs.writeFileSync(secret, `${this.given['appManager.array.apps.0.secret']}\n`, { mode: 0o600 });
        const config = path.join(this.directory, 'roost.toml');
        fs.writeFileSync(config, configuration(this.given, secret));
        const driver = ROOST_DRIVER ? ['--driver', ROOST_DRIVER] : [];
        const admin = ['--set', `admin.socket=${this.directory}/admin.sock`];
        const log = fs.openSync(path.join(this.directory, 'log'), 'w');
        this.daemon = spawn(ROOSTD, ['run', '--config', config, ...driver, ...admin], { stdio: ['ignore', log, log] });
        const deadline = Date.now() + START_MS;
        while (!(await this.isHealthy())) {
            if (this.daemon.exitCode !== null || Date.now() > deadline) {
                throw new Error(`roostd does not run:\n${fs.readFileSync(path.join(this.directory, 'log'))}`);
            }
            await new Promise(resolve => setTimeout(resolve, 20));
        }
        callback(this);
    }

    /** Ends it, after it has told its clients not to come back: they would come to the next case's server. */
    async stop() {
        const ended = new Promise(resolve => this.daemon.once('exit', resolve));
        for (const { connection } of this.ask('/v1/connections?limit=1000').connections) {
            this.ask(`/v1/connections/${connection}`, 'DELETE');
        }
        const deadline = Date.now() + 1_000;
        while (Date.now() < deadline && this.ask('/v1/connections?limit=1000').connections.length > 0) {
            await new Promise(resolve => setTimeout(resolve, 20));
        }
        this.daemon.kill('SIGKILL');
        await ended;
        while (await this.isListening()) {
            await new Promise(resolve => setTimeout(resolve, 20));
        }
        fs.rmSync(this.directory, { recursive: true });
    }

    /** The answer of the daemon's HTTP API, waited for: the cases ask for tables and not for promises. */
    ask(target: string, method = 'GET'): any {
        const url = `http://127.0.0.1:${ROOST_API_PORT}${target}`;
        const key = `Authorization: Bearer ${API_KEY}`;
        const text = execFileSync('curl', ['-s', '-X', method, '-H', key, '--max-time', '5', url]).toString();
        return text ? JSON.parse(text) : null;
    }

    /** With io_uring the kernel closes sockets a moment after the process has ended. */
    private isListening(): Promise<boolean> {
        return new Promise(resolve => {
            const socket = net.connect(this.given.port, '127.0.0.1');
            socket.on('connect', () => {
                socket.destroy();
                resolve(true);
            });
            socket.on('error', (error: any) => resolve(error.code !== 'ECONNREFUSED'));
        });
    }

    private isHealthy(): Promise<boolean> {
        return new Promise(resolve => {
            const headers = { Authorization: `Bearer ${API_KEY}` };
            // Not at the clients' port, where it would count as a connection.
            const request = http.get({ host: '127.0.0.1', port: ROOST_API_PORT, path: '/v1/info', headers, agent: false }, response => {
                response.resume();
                response.on('end', () => resolve(response.statusCode === 200));
            });
            request.on('error', () => resolve(false));
        });
    }
}

/** What the cases ask of the server's tables. There is one application, so that all connections are its. */
class Adapter {
    constructor(private server: Server) {}

    getNamespace(_: string) {
        const { connections } = this.server.ask('/v1/connections?limit=1000&dialect=pusher');
        const { channels } = this.server.ask('/v1/channels?limit=1000');
        const occupied = channels.filter(({ subscribers }) => subscribers > 0);
        // A case that looks at what a connection is subscribed to has one: what there is, is that one's.
        const subscribed = new Set(occupied.map(({ channel }) => channel));
        const present = new Map(occupied.filter(({ channel }) => this.members(channel).length > 0).map(({ channel }) => [channel, {}]));
        const socket = { subscribedChannels: subscribed, presence: present };
        return {
            sockets: new Map(connections.filter(({ phase }) => phase === 'open').map(({ connection }) => [connection, socket])),
            channels: new Map(occupied.map(({ channel, subscribers }) => [channel, subscribers])),
        };
    }

    async getSockets(app: string) {
        return this.getNamespace(app).sockets;
    }

    async getChannelSockets(_: string, name: string) {
        const { channels } = this.server.ask(`/v1/channels?name=${encodeURIComponent(name)}`);
        return { size: channels.length > 0 ? channels[0].subscribers : 0 };
    }

    async getChannelMembers(_: string, name: string) {
        return new Map(this.members(name).map(({ user }) => [user, {}]));
    }

    private members(name: string): any[] {
        return this.server.ask(`/v1/presence?channel=${encodeURIComponent(name)}`).members ?? [];
    }
}

function place(at: any, [name, ...rest]: string[], value: any) {
    if (rest.length === 0) {
        at[name] = value;
    } else {
        at[name] ??= {};
        place(at[name], rest, value);
    }
}

/** A roost.toml that says what the options of a case say. */
function configuration(given: any, secret: string): string {
    const app = (name: string) => given[`appManager.array.apps.0.${name}`];
    const text = (value: any) => JSON.stringify(String(value));
    const bytes = (value: number, least: number) => `${Math.min(64 << 20, Math.max(least, Math.round(value)))}`;
    const payload = bytes(given['eventLimits.maxPayloadInKb'] * 1024, 1);
    const connections = app('maxConnections') > 0 ? [`connections_max = ${app('maxConnections')}`] : [];
    const webhooks = app('webhooks').filter(({ url }) => url).map(webhook => webhookSection(webhook, app('id')));
    return [
        '[server]',
        'reactors = 1', // as soketi is one thread
        ...connections,
        '[[listener]]',
        `address = "127.0.0.1:${given.port}"`,
        'demo_page = true', // a health check may ask for /
        '[limits]',
        `channel_name_bytes_max = ${given['channelLimits.maxNameLength']}`,
        `handshake_timeout = "${given.userAuthenticationTimeout}ms"`,
        '[pusher]',
        'enabled = true',
        `client_events_per_second_max = ${app('maxClientEventsPerSecond')}`,
        `client_event_bytes_max = ${payload}`,
        `event_bytes_max = ${payload}`,
        `event_name_chars_max = ${given['eventLimits.maxNameLength']}`,
        `channels_per_event_max = ${given['eventLimits.maxChannelsAtOnce']}`,
        `members_per_channel_max = ${given['presence.maxMembersPerChannel']}`,
        `member_bytes_max = ${bytes(given['presence.maxMemberSizeInKb'] * 1024, 2)}`,
        '[[pusher.app]]',
        `id = ${text(app('id'))}`,
        `key = ${text(app('key'))}`,
        `secret_file = ${text(secret)}`,
        `enabled = ${app('enabled')}`,
        `client_events = ${app('enableClientMessages')}`,
        `authorized_connections = ${app('enableUserAuthentication')}`,
        ...webhooks,
        '[events]',
        ...(given['webhooks.batching.enabled'] ? [] : ['batch_max = 1', 'batch_wait = "0s"']),
        'linger = "0s"', // soketi tells at once
        '[channels]',
        'presence_linger = "0s"',
        'presence_notify = "100ms"',
        '[api]',
        `listen = ["127.0.0.1:${ROOST_API_PORT}"]`,
        `body_bytes_max = ${bytes(given['httpApi.requestLimitInMb'] * 1024 * 1024, 1)}`,
        '[[api.key]]',
        'name = "tests"',
        `sha256 = "${API_KEY_DIGEST}"`,
        'allow = ["read", "disconnect", "presence"]',
        '',
    ].join('\n');
}

function webhookSection(webhook: any, id: any): string {
    const { event_types, url, headers = {}, filter = {} } = webhook;
    return [
        '[[pusher.webhook]]',
        `app = ${JSON.stringify(String(id))}`,
        `url = ${JSON.stringify(url)}`,
        `events = ${JSON.stringify(event_types)}`,
        `channel_name_starts_with = ${JSON.stringify(filter.channel_name_starts_with ?? '')}`,
        `channel_name_ends_with = ${JSON.stringify(filter.channel_name_ends_with ?? '')}`,
        `headers = ${JSON.stringify(Object.entries(headers).map(([name, value]) => `${name}: ${value}`))}`,
        'values = "json"',
    ].join('\n');
}
