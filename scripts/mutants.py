#!/usr/bin/env python3
"""Which changes of the code do the tests not notice? cargo-mutants on the hub, outboxes and fan-out.

    scripts/mutants.py run SET [--shards 0,3/10]   # SET: hub, outbox or fanout; adds to what has run
    scripts/mutants.py table                       # writes docs/results/mutants.md from all that has run
    scripts/mutants.py survivors                   # prints what was not noticed, with its line

A mutant is the code with one expression changed. Each is built and tested with the tests of its own
crate alone, one at a time, niced: all of a set take hours, so a run takes shards (0,3/10: the first
and the fourth of ten, mutants dealt in turn), and results of one commit add up in target/mutants. What
survives is either a test to write, or stands in EQUIVALENT with the reason why no test can notice.

Needs cargo-mutants (cargo install cargo-mutants --locked). Python 3.9 or later. Status 1 when a
survivor has no reason.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUTCOMES = ROOT / 'target/mutants'
TABLE = ROOT / 'docs/results/mutants.md'

# A set's crate, its files, and which of the crate's tests are run.
SETS = {
    'hub': ('roost-hub', ['crates/roost-hub/src/**/*.rs'], []),
    'outbox': ('roost-reactor', ['crates/roost-reactor/src/connections/outbox*.rs',
                                 'crates/roost-reactor/src/connections/outbox/*.rs'], ['--lib']),
    'fanout': ('roost-reactor', ['crates/roost-reactor/src/channels/fanout.rs'], ['--lib']),
}
# Code that is only there for tests and messages, and is not worth a test itself.
EXCLUDED = ['impl (fmt::)?(Debug|Display)', 'check_invariants', 'for_tests']
# A mutant that loops for ever is noticed by this.
TEST_SECONDS_MAX = 60
BUILD_SECONDS_MAX = 600

# Survivors that no test can notice, or need not: file, a pattern of the mutant's description, why.
EQUIVALENT = [
    ('bitmap.rs', r'(== with !=|/ with %) in Lows::insert|\* with / in Lows::remove',
     'how much room a list keeps; what it holds is the same'),
    ('set.rs', r'> with == in SubscriberSet::remove', 'how much room a list keeps; what it holds is the same'),
    ('home_channel.rs', r'in list_bytes', 'a sum for tests of memory, which the sums of other forms outweigh'),
    ('local_channel.rs', r'in Mixed::is_uniform', 'the channel keeps its longer form; it answers the same'),
    ('outbox.rs', r'note_dropped', 'a test since: what_was_dropped_is_told_once'),
    ('outbox.rs', r'Held::queue_bytes', 'a test since: holding_a_message_costs_more_than_its_bytes'),
    ('fanout.rs', r'guard entry.wrapped with true in .*next_retire_slot', 'retire_before asks again'),
    ('fanout.rs', r'> with >= in .*wrap', 'kept a pass longer, an entry has no older publication left'),
]


def run(name, shards):
    package, files, test_args = SETS[name]
    numbers, of = shards.split('/')
    for number in numbers.split(','):
        out = OUTCOMES / name / f'{number}-{of}'
        out.mkdir(parents=True, exist_ok=True)
        command = ['nice', '-n', '10', 'cargo', 'mutants', '--package', package, '--jobs', '1',
                   '--shard', f'{number}/{of}', '--sharding', 'round-robin', '--no-shuffle', '--baseline', 'skip',
                   '--timeout', str(TEST_SECONDS_MAX), '--build-timeout', str(BUILD_SECONDS_MAX),
                   '--cap-lints', 'true', '--output', str(out)]
        for file in files:
            command += ['--file', file]
        for pattern in EXCLUDED:
            command += ['--exclude-re', pattern]
        for argument in test_args:
            command += ['--cargo-test-arg', argument]
        status = subprocess.run(command, cwd=ROOT).returncode
        if status not in (0, 2, 3):  # 2: some were missed, 3: some timed out
            sys.exit(f'cargo-mutants ended with status {status}')


def outcomes(name):
    """(file, description without its place, line, result) of each mutant that has run in a set."""
    for path in sorted((OUTCOMES / name).glob('*/mutants.out/outcomes.json')):
        for outcome in json.loads(path.read_text())['outcomes']:
            mutant = outcome['scenario']
            if mutant == 'Baseline':
                continue
            mutant = mutant['Mutant']
            description = re.sub(r'^[^:]+:\d+:\d+: ', '', mutant['name'])
            yield mutant['file'], description, mutant['span']['start']['line'], outcome['summary']


def reason(file, description):
    for of_file, pattern, why in EQUIVALENT:
        if file.endswith(of_file) and re.search(pattern, description):
            return why
    return None


def total(name):
    package, files, _ = SETS[name]
    command = ['cargo', 'mutants', '--package', package, '--list']
    for file in files:
        command += ['--file', file]
    for pattern in EXCLUDED:
        command += ['--exclude-re', pattern]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return len(listed.splitlines())


def table():
    commit = subprocess.run(['git', 'rev-parse', '--short', 'HEAD'], cwd=ROOT, capture_output=True,
                            text=True, check=True).stdout.strip()
    lines = ['# Changes that the tests notice', '',
             '<!-- check: skip hours, and cargo-mutants -->', '```sh',
             'scripts/mutants.py run hub --shards 0,1,2,3,4,5,6,7,8,9/10   # or outbox, fanout',
             'scripts/mutants.py table', '```', '',
             f'At {commit}. Each mutant is the code with one expression changed, tested with the tests of its own',
             'crate. Noticed: a test failed or ran into its time limit. Not built: the change does not compile.', '',
             '| file | mutants run | not built | noticed | survived | of these without a reason |',
             '|---|---:|---:|---:|---:|---:|']
    survivors, open_, coverage = {}, 0, []
    for name in SETS:
        files = {}
        for file, description, line, result in outcomes(name):
            row = files.setdefault(file, dict.fromkeys(['run', 'Unviable', 'noticed', 'MissedMutant', 'open'], 0))
            row['run'] += 1
            kind = 'noticed' if result in ('CaughtMutant', 'Timeout') else result
            row[kind] += 1
            if kind == 'MissedMutant':
                why = reason(file, description)
                row['open'] += why is None
                open_ += why is None
                key = (Path(file).name, description)
                survivors[key] = why
        for file, row in sorted(files.items()):
            lines.append(f'| {file.removeprefix("crates/")} | {row["run"]} | {row["Unviable"]} | {row["noticed"]} '
                         f'| {row["MissedMutant"]} | {row["open"]} |')
        ran = sum(row['run'] for row in files.values())
        coverage.append(f'{name} {ran} of {total(name)}')
    lines += ['', 'Mutants run: ' + ', '.join(coverage) + '.']
    if survivors:
        lines += ['', '## Survivors', '', '| file | change | why no test notices it |', '|---|---|---|']
        for (file, description), why in sorted(survivors.items()):
            description = description.replace('|', '\\|')
            lines.append(f'| {file} | `{description}` | {why or "a test is missing"} |')
    TABLE.write_text('\n'.join(lines) + '\n')
    return open_


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    run_parser = commands.add_parser('run')
    run_parser.add_argument('set', choices=SETS)
    run_parser.add_argument('--shards', default='0/1', help='numbers of shards and how many there are: 0,3/10')
    commands.add_parser('table')
    commands.add_parser('survivors')
    options = parser.parse_args()
    if options.command == 'run':
        run(options.set, options.shards)
        return 0
    if options.command == 'survivors':
        for name in SETS:
            for file, description, line, result in outcomes(name):
                if result == 'MissedMutant' and reason(file, description) is None:
                    print(f'{file}:{line}: {description}')
        return 0
    return 1 if table() else 0


if __name__ == '__main__':
    sys.exit(main())
