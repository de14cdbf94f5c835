#!/usr/bin/env python3
"""What no lint checks: walls between the files of a crate, and between commits and their readers.

    scripts/check_house.py              # everything
    scripts/check_house.py --since REV  # and the subjects of the commits since REV

- No import cycle among the files of a crate. An edge goes from a file to the file that defines what it
  names: by a private `use`; by a path in the code that begins with `crate`, `super`, `self`, a child
  module or an imported module; by a re-export whose name the file uses itself. `mod` lines and names
  only passed on are no edges, and neither are method calls; tests are left out.
- No type of the data path (CRATES_WITH_WALLS) with inherent `impl` blocks in more than two files.
- Commit subjects: at most 72 characters, no full stop at the end, no "wip", "fixup!" or "squash!".

Python 3.9 or later, its standard library only. Status 1 when something is not as it should be.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMPL_FILES_MAX = 2
CRATES_WITH_WALLS = ['roost-wire', 'roost-dialect', 'roost-hub', 'roost-dealer',
                     'roost-reactor', 'roost-control']
SUBJECT_MAX = 72


class Module:
    """A file of a crate, with the modules it declares."""

    def __init__(self, path, parent):
        self.path = path
        self.parent = parent
        self.children = {}
        self.text = strip(path.read_text())
        self.reexports = {}


def strip(text):
    """Without comments, strings and test modules."""
    text = re.sub(r'//[^\n]*', '', text)
    text = re.sub(r'"(?:\\.|[^"\\])*"', '""', text)
    out, at = [], 0
    for match in re.finditer(r'#\[cfg\((?:test|loom)\)\]\s*(?:#\[[^\]]*\]\s*)*', text):
        if match.start() < at:
            continue
        out.append(text[at:match.start()])
        at = end_of_item(text, match.end())
    out.append(text[at:])
    return ''.join(out)


def end_of_item(text, at):
    depth = 0
    for index in range(at, len(text)):
        if text[index] == '{':
            depth += 1
        elif text[index] == '}':
            depth -= 1
            if depth == 0:
                return index + 1
        elif text[index] == ';' and depth == 0:
            return index + 1
    return len(text)


def load(path, parent=None):
    module = Module(path, parent)
    directory = path.parent if path.name in ('lib.rs', 'main.rs', 'mod.rs') else path.with_suffix('')
    for name in re.findall(r'^\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*;', module.text, re.M):
        for candidate in (directory / f'{name}.rs', directory / name / 'mod.rs'):
            if candidate.exists():
                module.children[name] = load(candidate, module)
    for visibility, tree in re.findall(r'\b(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);', module.text):
        if visibility:
            for path_ in expand(tree):
                alias = path_[-1]
                names = path_[:-1] if ' as ' in alias else path_
                module.reexports[alias.split(' as ')[-1].strip()] = [*names[:-1], names[-1].split(' as ')[0].strip()]
    return module


def expand(tree):
    """The paths that a use tree names, as lists of segments."""
    tree = tree.strip()
    match = re.match(r'^((?:\w+\s*::\s*)*)\{(.*)\}$', tree, re.S)
    if not match:
        return [[part.strip() for part in tree.split('::')]]
    prefix = [part.strip() for part in match.group(1).split('::') if part.strip()]
    parts, depth, start = [], 0, 0
    inner = match.group(2)
    for index, char in enumerate(inner):
        depth += (char == '{') - (char == '}')
        if char == ',' and depth == 0:
            parts.append(inner[start:index])
            start = index + 1
    parts.append(inner[start:])
    return [prefix + path for part in parts if part.strip() for path in expand(part)]


def resolve(module, path, root, seen=()):
    """The module that defines what a path names, or None if it is of another crate."""
    if path[0] == 'crate':
        at = root
    elif path[0] == 'self':
        at = module
    elif path[0] == 'super':
        at = module.parent or root
    elif path[0] in module.children:
        at, path = module, ['self', *path]
    else:
        return None
    for index, name in enumerate(path[1:], 1):
        name = name.split(' as ')[0].strip()
        if name == 'super':
            at = at.parent or root
        elif name == 'self':
            continue
        elif name in at.children:
            at = at.children[name]
        elif name in at.reexports and (at, name) not in seen:
            target = resolve(at, at.reexports[name], root, (*seen, (at, name)))
            return target
        else:
            return at
    return at if path[-1] != '*' else at


def edges_of(module, root):
    """The files that a file needs: what it imports, what its code names by a path, and what it re-exports
    and uses itself."""
    targets = set()
    uses = re.findall(r'\b(?:(pub(?:\([^)]*\))?)\s+)?use\s+([^;]+);', module.text)
    body = re.sub(r'\b(?:pub(?:\([^)]*\))?\s+)?use\s+[^;]+;', '', module.text)
    imported = {}
    for visibility, tree in uses:
        for path in expand(tree):
            alias = path[-1].split(' as ')[-1].strip()
            if visibility and not re.search(rf'(?<![\w.]){re.escape(alias)}\b', body):
                continue  # only passed on
            target = resolve(module, path, root)
            targets.add(target)
            if target and is_module(target, path):
                imported[alias] = target
    for path in re.findall(r'(?<![\w:])\w+(?:\s*::\s*\w+)+', body):
        path = [part.strip() for part in path.split('::')]
        if path[0] in imported:
            targets.add(resolve(imported[path[0]], ['self', *path[1:]], root))
        else:
            targets.add(resolve(module, path, root))
    targets.discard(None)
    targets.discard(module)
    return targets


def is_module(target, path):
    """Whether a path ends at the module itself, and not at an item of it."""
    last = path[-1].split(' as ')[0].strip()
    return last == 'self' or target.path.stem == last or target.path.parent.name == last


def all_modules(module):
    yield module
    for child in module.children.values():
        yield from all_modules(child)


def cycles(graph):
    """Strongly connected components of more than one file (Tarjan 1972)."""
    index, low, stack, on, found, counter = {}, {}, [], set(), [], [0]

    def visit(node):
        index[node] = low[node] = counter[0]
        counter[0] += 1
        stack.append(node)
        on.add(node)
        for target in graph[node]:
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in on:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            component = []
            while True:
                top = stack.pop()
                on.discard(top)
                component.append(top)
                if top is node:
                    break
            if len(component) > 1:
                found.append(component)

    for node in graph:
        if node not in index:
            visit(node)
    return found


def definition_of(type_, module, root):
    """The module that defines a type which a module names."""
    if re.search(rf'\b(?:struct|enum|union)\s+{type_}\b', module.text):
        return module
    for tree in re.findall(r'\buse\s+([^;]+);', module.text):
        for path in expand(tree):
            if path[-1] == type_:
                return resolve(module, path, root)
    return module.parent


def check_crate(root_file):
    problems = []
    root = load(root_file)
    modules = list(all_modules(root))
    graph = {module: edges_of(module, root) for module in modules}
    name = lambda module: str(module.path.relative_to(ROOT))
    for component in cycles(graph):
        inside = set(component)
        lines = [f'    {name(module)} -> {", ".join(sorted(name(t) for t in graph[module] & inside))}'
                 for module in sorted(component, key=name)]
        problems.append(f'import cycle of {len(component)} files:\n' + '\n'.join(lines))
    if root_file.parent.parent.name not in CRATES_WITH_WALLS:
        return problems
    impls = {}
    for module in modules:
        # Of a trait's, "for" stands before the brace: between type parameters as well.
        pattern = r'^impl(?:<[^{;]*?>)?\s+([A-Z]\w*)(?:<(?:(?! for )[^{;])*>)?\s*(?:where[^{]*)?\{'
        for type_ in re.findall(pattern, module.text, re.M):
            home = definition_of(type_, module, root)
            impls.setdefault((type_, home), set()).add(name(module))
    for (type_, _), files in impls.items():
        if len(files) > IMPL_FILES_MAX:
            problems.append(f'{type_} has impl blocks in {len(files)} files: {", ".join(sorted(files))}')
    return problems


def check_subjects(since):
    log = subprocess.run(['git', 'log', '--format=%h %s', f'{since}..HEAD'], cwd=ROOT,
                         capture_output=True, text=True, check=True).stdout
    problems = []
    for line in log.splitlines():
        commit, subject = line.split(' ', 1)
        if len(subject) > SUBJECT_MAX:
            problems.append(f'{commit}: the subject has {len(subject)} characters: {subject}')
        if subject.endswith('.') or re.match(r'(?i)(wip|fixup!|squash!)', subject):
            problems.append(f'{commit}: not a subject: {subject}')
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--since', metavar='REV')
    options = parser.parse_args()
    problems = []
    for crate in sorted([*ROOT.glob('crates/*'), ROOT / 'loadtest']):
        for root_file in (crate / 'src/lib.rs', crate / 'src/main.rs'):
            if root_file.exists():
                problems += check_crate(root_file)
    if options.since:
        problems += check_subjects(options.since)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
