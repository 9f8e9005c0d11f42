"""Tree → LaTeX, for plain spellings (`sqrt(3)/2`) that another engine reads only as LaTeX."""

from __future__ import annotations

from dataclasses import replace

from verifiers.algebra.syntax import Tree
from verifiers.algebra.vocabulary import GREEK
from verifiers.canonical.conversion import find_scale

_SIGNS = {"le": "\\le", "ge": "\\ge", "ne": "\\ne", "in": "\\in"}


def in_base_units(tree: Tree) -> Tree:
    """The same with every measure worked out to its base unit, which is then left away."""
    parts = tuple(in_base_units(part) for part in tree.parts)
    scale = find_scale(tree.name) if tree.op == "unit" else None
    if scale is None:
        return replace(tree, parts=parts)
    scaled = Tree("multiply", (parts[0], Tree("number", value=scale.factor)))
    return Tree("add", (scaled, Tree("number", value=scale.offset))) if scale.offset else scaled


def to_latex(tree: Tree) -> str:
    """The same expression, bracketed wherever precedence could matter."""
    parts = [to_latex(part) for part in tree.parts]
    if tree.op == "number":
        value = tree.value
        whole = value.denominator == 1
        return str(value) if whole else f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
    if tree.op == "symbol":
        return f"\\{tree.name}" if tree.name in GREEK or tree.name == "infty" else tree.name
    if tree.op == "relation":
        signs = [_SIGNS.get(sign, sign) for sign in tree.name.split()]
        return " ".join([parts[0], *(f"{s} {p}" for s, p in zip(signs, parts[1:], strict=True))])
    if tree.op == "interval":
        return f"{tree.name[0]}{', '.join(parts)}{tree.name[1]}"
    if tree.op == "call":
        base = f"_{{{parts[1]}}}" if len(parts) > 1 else ""
        return f"\\{tree.name}{base}({parts[0]})"
    if tree.op in _PATTERNS:
        return _PATTERNS[tree.op].format(*parts)
    if tree.op in _JOINED:
        left, between, right = _JOINED[tree.op]
        return left + between.join(parts) + right
    return tree.name


_PATTERNS = {
    "add": "({0} + {1})",
    "multiply": "({0} \\cdot {1})",
    "divide": "\\frac{{{0}}}{{{1}}}",
    "negative": "(-{0})",
    "plus_minus": "{0} \\pm {1}",
    "power": "{{({0})}}^{{{1}}}",
    "root": "\\sqrt[{1}]{{{0}}}",
    "factorial": "({0})!",
    "binomial": "\\binom{{{0}}}{{{1}}}",
    "absolute": "|{0}|",
    "unit": "{0}",
}
_JOINED = {
    "tuple": ("(", ", ", ")"),
    "braces": ("\\{", ", ", "\\}"),
    "list": ("", ", ", ""),
    "union": ("", " \\cup ", ""),
    "matrix": ("\\begin{pmatrix}", " \\\\ ", "\\end{pmatrix}"),
}
