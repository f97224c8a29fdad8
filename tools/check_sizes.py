"""Refuse files over 600 lines, functions over 60 and nesting deeper than four levels in src."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

_FILE_LINES = 600
_FUNCTION_LINES = 60
_NESTING = 4
_BLOCKS = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.Match)


def _depth(node: ast.AST, depth: int = 0, *, alternative: bool = False) -> int:
    deepest = depth
    for field, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        for child in children:
            if not isinstance(child, ast.AST) or isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                continue
            # An elif is written as deep as its if.
            chained = (field == "orelse" and isinstance(node, ast.If) and isinstance(child, ast.If)
                       and len(children) == 1)
            inner = depth + (isinstance(child, _BLOCKS) and not chained)
            deepest = max(deepest, _depth(child, inner))
    return deepest


def _problems(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    found = []
    if text.count("\n") > _FILE_LINES:
        found.append(f"{path}: {text.count(chr(10))} lines, more than {_FILE_LINES}")
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > _FUNCTION_LINES:
            found.append(f"{path}:{node.lineno}: {node.name} has {lines} lines, more than {_FUNCTION_LINES}")
        if _depth(node) > _NESTING:
            found.append(f"{path}:{node.lineno}: {node.name} is nested {_depth(node)} levels, more than {_NESTING}")
    return found


def main() -> None:
    """Check every file of src; exit with 1 if one is too large."""
    found = [problem for path in sorted(Path("src").rglob("*.py")) for problem in _problems(path)]
    for problem in found:
        print(problem)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
