#!/usr/bin/env python3
"""Counts the words of prose in README.md and docs/: no tables, no code blocks, nothing that is made by
a program, not docs/results.

    scripts/doc_words.py                   # the tree, file by file
    scripts/doc_words.py REV               # as of a commit
    scripts/doc_words.py --against REV     # the documents that there were then: words then and now; and those
                                           # that there were not. A decision is the same by its number.

Python 3.9 or later, its standard library only.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def prose_words(text):
    text = re.sub(r'^ *```.*?^ *```', '', text, flags=re.M | re.S)
    text = re.sub(r'<!--[^>]*from here -->.*?<!-- to here -->', '', text, flags=re.S)
    text = re.sub(r'<!--.*?-->', '', text, flags=re.S)
    lines = [line for line in text.splitlines() if not line.lstrip().startswith('|')]
    text = re.sub(r'\]\([^)]*\)', ']', '\n'.join(lines))
    return sum(1 for word in text.split() if re.search(r'\w', word))


def is_counted(name):
    return name == 'README.md' or (name.endswith('.md') and name.startswith('docs/') and not name.startswith('docs/results/'))


def documents(revision):
    git = lambda *arguments: subprocess.run(['git', *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    if revision:
        names = git('ls-tree', '-r', '--name-only', revision).splitlines()
        return {name: git('show', f'{revision}:{name}') for name in names if is_counted(name)}
    names = git('ls-files', '--cached', '--others', '--exclude-standard').splitlines()
    return {name: (ROOT / name).read_text() for name in names if is_counted(name) and (ROOT / name).exists()}


def topic_of(name):
    """What stays the same when a decision gets another title."""
    decision = re.match(r'docs/decisions/(\d+)', name)
    return f'docs/decisions/{decision[1]}' if decision else name


def words_of(revision):
    return {topic_of(name): prose_words(text) for name, text in documents(revision).items()}


def compare(revision):
    then, now = words_of(revision), words_of(None)
    for topic in sorted(then):
        print(f'{then[topic]:6} {now.get(topic, 0):6} {topic}')
    kept = sum(now.get(topic, 0) for topic in then)
    print(f'{sum(then.values()):6} {kept:6} in all, of what there was')
    new = [topic for topic in now if topic not in then]
    print(f'{0:6} {sum(now[topic] for topic in new):6} in {len(new)} documents that there were not')


def main():
    if sys.argv[1:2] == ['--against']:
        return compare(sys.argv[2])
    total = 0
    for name, text in sorted(documents(sys.argv[1] if len(sys.argv) > 1 else None).items()):
        words = prose_words(text)
        total += words
        print(f'{words:6} {name}')
    print(f'{total:6} in all')


if __name__ == '__main__':
    main()
