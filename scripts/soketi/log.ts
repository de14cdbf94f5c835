// Stands in for soketi's `src/log.ts` (scripts/soketi_tests.py).

export class Log {
    static successTitle(_: string) {}
}
