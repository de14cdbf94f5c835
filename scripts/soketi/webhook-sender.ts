// Stands in for soketi's `src/webhook-sender.ts`: the cases of webhooks check signatures with it
// (scripts/soketi_tests.py).

import { createHmac } from 'crypto';

export function createWebhookHmac(body: string, secret: string): string {
    return createHmac('sha256', secret).update(body).digest('hex');
}
