"""Writes a chat template's expressions in minijinja's words (see ``minijinja``)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from jinja2 import nodes

from ...errors import UnsupportedError

_HINT = "give a simpler template with --chat-template FILE, or use --runtime executorch"

# What minijinja has under the same name and meaning (checked against 0.18.1), and what is written differently.
_FILTER_NAMES = """
abs attr batch bool capitalize count d default dictsort first float format groupby indent int items join last length
list lower map max min reject rejectattr replace reverse round safe select selectattr slice sort string sum title tojson
trim unique upper urlencode
"""
_TEST_NAMES = """
boolean defined divisibleby eq equalto even false float ge gt in integer iterable le lt mapping ne none number odd
sameas sequence string true undefined == != < <= > >=
"""
_FILTERS = frozenset(_FILTER_NAMES.split())
_TESTS = frozenset(_TEST_NAMES.split())
# Tests that mean something else in minijinja, of a value {0}.
_OTHER_TESTS = {
    "none": "({0} == none)",  # which asks whether it is undefined
    "number": "(({0} is number) or ({0} is boolean))",
    "iterable": "(({0} is iterable) and ({0} != none))",
    "sequence": "(({0} is sequence) or ({0} is string) or ({0} is mapping) or ({0} is undefined))",
}
_EMPTY = {"length": "[]", "count": "[]", "items": "{}"}  # filters that don't take undefined, and what replaces it
_TEXT_FILTERS = frozenset(("trim", "string", "replace"))  # filters that print what they are given
_PASSING_FILTERS = frozenset(("default", "d", "first", "last", "attr"))  # filters that return a value of any type
# Filters whose arguments have no names in minijinja: jinja2's names, with their defaults.
_UNNAMED: dict[str, dict[str, Any]] = {
    "indent": {"width": 4, "first": False, "blank": False},
    "default": {"default_value": "", "boolean": False},
    "d": {"default_value": "", "boolean": False},
}
_SELECTING = frozenset(("select", "reject", "selectattr", "rejectattr"))
_MISSING_GLOBALS = frozenset(("cycler", "joiner", "lipsum"))
_OPERATORS: dict[type[nodes.BinExpr], str] = {
    nodes.Add: "+",
    nodes.Sub: "-",
    nodes.Mul: "*",
    nodes.Div: "/",
    nodes.FloorDiv: "//",
    nodes.Mod: "%",
    nodes.Pow: "**",
    nodes.And: "and",
    nodes.Or: "or",
}
_COMPARISONS = {
    "eq": "==",
    "ne": "!=",
    "gt": ">",
    "gteq": ">=",
    "lt": "<",
    "lteq": "<=",
    "in": "in",
    "notin": "not in",
}
# The engine's regular expressions would rewrite these in literal text as well.
_REWRITTEN = re.compile(
    r"\.(?=(?:startswith|endswith|replace|split|join|[lr]?strip|items)\()|\{(?=% (?:end)?generation %\})"
)
INDENTED = "gemcut_json"  # the macro that stands in for tojson(indent=...)


def literal(text: str) -> str:
    """Return a string constant that Jinja, minijinja and the engine's regular expressions all leave as it is."""
    return _REWRITTEN.sub(lambda sign: f"\\u{ord(sign[0]):04x}", json.dumps(text, ensure_ascii=False))


class ExpressionWriter:
    """Writes expressions; each comes out whole, in parentheses if it has parts."""

    def expression(self, node: nodes.Node) -> str:
        """Return an expression in minijinja."""
        if isinstance(node, nodes.BinExpr):
            return self._binary(node)
        kind = type(node).__name__.lower()
        write: Callable[[Any], str] | None = getattr(self, f"_x_{kind}", None)
        if write is None:
            raise unsupported(node, kind)
        return write(node)

    def _binary(self, node: nodes.BinExpr) -> str:
        left, right = self.expression(node.left), self.expression(node.right)
        if isinstance(node, nodes.Mod) and isinstance(node.left, nodes.Const) and isinstance(node.left.value, str):
            values = node.right.items if isinstance(node.right, nodes.Tuple) else [node.right]
            return f"({left} | format({self._listed(values)}))"
        return f"({left} {_OPERATORS[type(node)]} {right})"

    def _x_not(self, node: nodes.Not) -> str:
        return f"(not {self.expression(node.node)})"

    def _x_neg(self, node: nodes.Neg) -> str:
        return f"(0 - {self.expression(node.node)})"  # minijinja's - doesn't negate numbers that come from JSON

    def _x_compare(self, node: nodes.Compare) -> str:
        left, parts = self.expression(node.expr), []
        for operand in node.ops:
            right = self.expression(operand.expr)
            parts.append(f"({left} {_COMPARISONS[operand.op]} {right})")
            left = right
        return parts[0] if len(parts) == 1 else f"({' and '.join(parts)})"

    def _x_concat(self, node: nodes.Concat) -> str:
        return f"({' ~ '.join(self.printed(part) for part in node.nodes)})"

    def _x_condexpr(self, node: nodes.CondExpr) -> str:
        first = f"{self.expression(node.expr1)} if {self.expression(node.test)}"
        return f"({first} else {self.expression(node.expr2)})" if node.expr2 else f"({first})"

    def _x_const(self, node: nodes.Const) -> str:
        return literal(node.value) if isinstance(node.value, str) else json.dumps(node.value).replace("null", "none")

    def _x_templatedata(self, node: nodes.TemplateData) -> str:
        return literal(node.data)

    def _x_name(self, node: nodes.Name) -> str:
        if node.name in _MISSING_GLOBALS:
            raise unsupported(node, node.name)
        return node.name

    def _x_list(self, node: nodes.List | nodes.Tuple) -> str:
        return f"[{self._listed(node.items)}]"

    _x_tuple = _x_list

    def _x_dict(self, node: nodes.Dict) -> str:
        return "{" + ", ".join(f"{self.expression(p.key)}: {self.expression(p.value)}" for p in node.items) + "}"

    def _x_getattr(self, node: nodes.Getattr) -> str:
        return f"{self.expression(node.node)}.{node.attr}"

    def _x_getitem(self, node: nodes.Getitem) -> str:
        if not isinstance(node.arg, nodes.Slice):
            return f"{self.expression(node.node)}[{self.expression(node.arg)}]"
        ends = [self.expression(end) if end else "" for end in (node.arg.start, node.arg.stop)]
        step = f":{self.expression(node.arg.step)}" if node.arg.step else ""
        return f"{self.expression(node.node)}[{':'.join(ends)}{step}]"

    def _x_filter(self, node: nodes.Filter) -> str:
        if node.node is None:
            raise unsupported(node, f"| {node.name}")
        value = self.printed(node.node) if node.name in _TEXT_FILTERS else self.expression(node.node)
        if node.name == "tojson":
            return self._tojson(node, value)
        if node.name in _EMPTY:
            value = f"({value} | default({_EMPTY[node.name]}))"
        return f"({value} | {self.filter_name(node)})"

    def filter_name(self, node: nodes.Filter) -> str:
        """Return a filter's name and arguments in minijinja."""
        if node.name not in _FILTERS:
            raise unsupported(node, f"| {node.name}")
        arguments = list(node.args)
        at = 0 if node.name in ("select", "reject") else 1
        if node.name in _SELECTING and len(arguments) > at and _is_const(arguments[at], "none"):
            arguments[at : at + 1] = [nodes.Const("eq"), nodes.Const(None)]
        named: list[Any] = list(node.kwargs)
        if node.name in _UNNAMED and named:
            names = _UNNAMED[node.name]
            given = dict(zip(names, arguments, strict=False)) | {pair.key: pair.value for pair in named}
            arguments, named = [given.get(name, nodes.Const(value)) for name, value in names.items()], []
        written = self._arguments(node, arguments, named)
        return f"{node.name}({written})" if written else node.name

    def _tojson(self, node: nodes.Filter, value: str) -> str:
        """The engine's tojson is json.dumps(value, ensure_ascii=False), which is transformers' default too."""
        given: dict[str, nodes.Expr] = {str(pair.key): pair.value for pair in node.kwargs}
        indent = given.pop("indent", None)
        defaults = {"ensure_ascii": False, "separators": None, "sort_keys": False}
        if node.args or any(name not in defaults or not _is_const(given[name], defaults[name]) for name in given):
            raise unsupported(node, "| tojson(…) with these arguments")
        if indent is None or _is_const(indent, None):
            return f"({value} | tojson)"
        return f"{INDENTED}({value}, {self.expression(indent)}, 0)"

    def _x_test(self, node: nodes.Test) -> str:
        if node.name not in _TESTS:
            raise unsupported(node, f"is {node.name}")
        value = self.expression(node.node)
        if node.name in _OTHER_TESTS:
            return _OTHER_TESTS[node.name].format(value)
        written = self._arguments(node, node.args, node.kwargs)
        return f"({value} is {node.name}({written}))" if written else f"({value} is {node.name})"

    def _x_call(self, node: nodes.Call) -> str:
        if isinstance(node.node, nodes.Getattr) and not _is_loop(node.node.node):
            return self._method(node, node.node)
        return f"{self.expression(node.node)}({self._arguments(node, node.args, node.kwargs)})"

    def _method(self, node: nodes.Call, called: nodes.Getattr) -> str:
        """A method of Python's, written with minijinja's filters and tests."""
        value, name = self.expression(called.node), called.attr
        arguments = [self.expression(argument) for argument in node.args]
        write = _METHODS.get((name, len(arguments)))
        if write is None or node.kwargs or node.dyn_args or node.dyn_kwargs:
            raise unsupported(node, f".{name}({', '.join('…' for _ in arguments)})")
        return write(value, *arguments)

    def _arguments(self, node: Any, arguments: Iterable[nodes.Expr], named: Iterable[Any]) -> str:
        if node.dyn_args or node.dyn_kwargs:
            raise unsupported(node, "* or ** before an argument")
        parts = [self.expression(argument) for argument in arguments]
        return ", ".join([*parts, *(f"{pair.key}={self.expression(pair.value)}" for pair in named)])

    def _listed(self, items: Iterable[nodes.Expr]) -> str:
        return ", ".join(self.expression(item) for item in items)

    def printed(self, node: nodes.Expr) -> str:
        """Return an expression for a value as Python prints it."""
        value = self.expression(node)
        if not _of_any_type(node):
            return value
        return f"(({value} | string | capitalize) if (({value} is boolean) or ({value} == none)) else {value})"


_METHODS: dict[tuple[str, int], Callable[..., str]] = {
    ("get", 1): lambda value, key: f"({value}[{key}] if {key} in {value} else none)",
    ("get", 2): lambda value, key, default: f"({value}[{key}] if {key} in {value} else {default})",
    ("items", 0): lambda value: f"({value} | items)",
    ("keys", 0): lambda value: f"({value} | list)",
    ("values", 0): lambda value: f'({value} | items | map("last") | list)',
    ("strip", 0): lambda value: f"({value} | trim)",
    ("strip", 1): lambda value, signs: f"({value} | trim({signs}))",
    ("lstrip", 0): lambda value: f"({value} | lstrip)",
    ("lstrip", 1): lambda value, signs: f"({value} | lstrip({signs}))",
    ("rstrip", 0): lambda value: f"({value} | rstrip)",
    ("rstrip", 1): lambda value, signs: f"({value} | rstrip({signs}))",
    ("split", 0): lambda value: f"({value} | split | list)",
    ("split", 1): lambda value, mark: f"({value} | split({mark}) | list)",
    ("split", 2): lambda value, mark, times: f"({value} | split({mark}, {times}) | list)",
    ("startswith", 1): lambda value, start: f"({value} is startingwith({start}))",
    ("endswith", 1): lambda value, end: f"({value} is endingwith({end}))",
    ("replace", 2): lambda value, old, new: f"({value} | replace({old}, {new}))",
    ("join", 1): lambda value, parts: f"({parts} | join({value}))",
    ("upper", 0): lambda value: f"({value} | upper)",
    ("lower", 0): lambda value: f"({value} | lower)",
    ("title", 0): lambda value: f"({value} | title)",
    ("capitalize", 0): lambda value: f"({value} | capitalize)",
}


def _is_const(node: nodes.Node, value: str | bool | None) -> bool:
    return isinstance(node, nodes.Const) and type(node.value) is type(value) and node.value == value


def _of_any_type(node: nodes.Node) -> bool:
    """Whether an expression can be None or a boolean, which Python prints differently."""
    if isinstance(node, nodes.CondExpr):
        return _of_any_type(node.expr1) or (node.expr2 is not None and _of_any_type(node.expr2))
    if isinstance(node, nodes.And | nodes.Or):
        return _of_any_type(node.left) or _of_any_type(node.right)
    if isinstance(node, nodes.Filter):
        return node.name in _PASSING_FILTERS
    if isinstance(node, nodes.Const):
        return not isinstance(node.value, str)
    if isinstance(node, nodes.Call):
        return isinstance(node.node, nodes.Getattr) and node.node.attr in ("get", "startswith", "endswith")
    comparing = nodes.Compare | nodes.Not | nodes.Test
    return isinstance(node, nodes.Name | nodes.Getattr | nodes.Getitem | comparing)


def _is_loop(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == "loop"


def unsupported(node: nodes.Node, what: str) -> UnsupportedError:
    """Return the error for a node that uses ``what``, which the engine can't do."""
    return UnsupportedError(f"the chat template, line {node.lineno}: LiteRT-LM's Jinja has no {what}", hint=_HINT)
