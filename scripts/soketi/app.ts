// Stands in for soketi's `src/app.ts`: the cases of webhooks read its secret (scripts/soketi_tests.py).

export class App {
    public secret: string;

    constructor(app: any, _: any) {
        this.secret = app.secret;
    }
}
