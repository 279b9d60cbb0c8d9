"""Rewrites a chat template in the Jinja that LiteRT-LM 0.18 renders: minijinja, without Python's methods.

Engine: runtime/components/prompt_template.cc and rust/minijinja_template.rs. Found by rendering with 0.18.1: no
methods of Python's strings and dicts but a few that it rewrites by regular expressions (in literal text too, and
across statements); ``is none`` means undefined; ``tojson`` takes no arguments; no ``break`` and ``continue``; mappings
aren't sequences and not iterable, booleans aren't numbers and are printed as in JSON; ``%`` doesn't format. Upstream's
own transpiler (litert-torch, experimental/minijinja_transpile) turns lstrip into a trim and handles little of the rest.

The template is parsed as transformers parses it and each node is written again, so that whitespace control is resolved
and no text is mistaken for code. This module writes statements, ``minijinja_expressions`` expressions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from jinja2 import meta, nodes

from ...checkpoint.chat_template import template_environment
from .minijinja_expressions import INDENTED, ExpressionWriter, unsupported

_INDENTED_MACRO = """{%- macro gemcut_json(value, indent, level) -%}
{%- set inner = "\\n" ~ " " * (indent * (level + 1)) -%}
{%- set outer = "\\n" ~ " " * (indent * level) -%}
{%- if value is mapping and value -%}
{%- for key in value -%}
{{- ("{" if loop.first else ",") ~ inner ~ (key | tojson) ~ ": " ~ gemcut_json(value[key], indent, level + 1) -}}
{%- endfor -%}
{{- outer ~ "}" -}}
{%- elif value is sequence and value is not string and value is not mapping and value -%}
{%- for item in value -%}
{{- ("[" if loop.first else ",") ~ inner ~ gemcut_json(item, indent, level + 1) -}}
{%- endfor -%}
{{- outer ~ "]" -}}
{%- else -%}
{{- value | tojson -}}
{%- endif -%}
{%- endmacro -%}
"""


def rewrite(source: str) -> tuple[str, frozenset[str]]:
    """Return the same template for the engine, and the names that it takes from outside.

    Raises:
        UnsupportedError: The template uses something that the engine can't do.
    """
    tree = template_environment().parse(source)
    writer = _TemplateWriter()
    body = writer.statements(tree.body)
    needed = _INDENTED_MACRO if INDENTED in body else ""
    return needed + body, frozenset(meta.find_undeclared_variables(tree))


class _TemplateWriter(ExpressionWriter):
    """Writes statements."""

    def statements(self, body: Iterable[nodes.Node]) -> str:
        """Return statements in minijinja."""
        return "".join(self.statement(node) for node in body)

    def statement(self, node: nodes.Node) -> str:
        """Return a statement in minijinja."""
        kind = type(node).__name__.lower()
        write: Callable[[Any], str] | None = getattr(self, f"_{kind}", None)
        if write is None:
            raise unsupported(node, f"{{% {kind} %}}")
        return write(node)

    def _output(self, node: nodes.Output) -> str:
        return "".join(f"{{{{- {self.printed(part)} -}}}}\n" for part in node.nodes)

    def _if(self, node: nodes.If) -> str:
        branches = [f"{_tag('if ' + self.expression(node.test))}{self.statements(node.body)}"]
        for branch in node.elif_:
            branches.append(f"{_tag('elif ' + self.expression(branch.test))}{self.statements(branch.body)}")
        if node.else_:
            branches.append(f"{_tag('else')}{self.statements(node.else_)}")
        return "".join(branches) + _tag("endif")

    def _for(self, node: nodes.For) -> str:
        head = f"for {self._target(node.target)} in {self.expression(node.iter)}"
        if node.test:
            head += f" if {self.expression(node.test)}"
        if node.recursive:
            head += " recursive"
        body = _tag(head) + self.statements(node.body)
        if node.else_:
            body += _tag("else") + self.statements(node.else_)
        return body + _tag("endfor")

    def _assign(self, node: nodes.Assign) -> str:
        return _tag(f"set {self._target(node.target)} = {self.expression(node.node)}")

    def _assignblock(self, node: nodes.AssignBlock) -> str:
        if node.filter is not None:
            raise unsupported(node, "{% set … | filter %}")
        return _tag(f"set {self._target(node.target)}") + self.statements(node.body) + _tag("endset")

    def _macro(self, node: nodes.Macro) -> str:
        return _tag(f"macro {node.name}({self._parameters(node)})") + self.statements(node.body) + _tag("endmacro")

    def _callblock(self, node: nodes.CallBlock) -> str:
        called = f"({self._parameters(node)})" if node.args else ""
        return _tag(f"call{called} {self.expression(node.call)}") + self.statements(node.body) + _tag("endcall")

    def _filterblock(self, node: nodes.FilterBlock) -> str:
        chain, link = [], node.filter
        while link is not None:
            chain.append(self.filter_name(link))
            link = link.node  # type: ignore[assignment]
        return _tag(f"filter {' | '.join(reversed(chain))}") + self.statements(node.body) + _tag("endfilter")

    def _with(self, node: nodes.With) -> str:
        pairs = zip(node.targets, node.values, strict=True)
        assignments = ", ".join(f"{self._target(target)} = {self.expression(value)}" for target, value in pairs)
        return _tag(f"with {assignments}") + self.statements(node.body) + _tag("endwith")

    def _scope(self, node: nodes.Scope) -> str:
        return self.statements(node.body)

    def _parameters(self, node: nodes.Macro | nodes.CallBlock) -> str:
        names = [argument.name for argument in node.args]
        plain = len(names) - len(node.defaults)
        values = [f"{name}={self.expression(value)}" for name, value in zip(names[plain:], node.defaults, strict=True)]
        return ", ".join([*names[:plain], *values])

    def _target(self, node: nodes.Node) -> str:
        if isinstance(node, nodes.Tuple):
            return ", ".join(self._target(item) for item in node.items)
        if isinstance(node, nodes.NSRef):
            return f"{node.name}.{node.attr}"
        if not isinstance(node, nodes.Name):
            raise unsupported(node, "such a target for set or for")
        return node.name


def _tag(content: str) -> str:
    return f"{{%- {content} -%}}\n"
