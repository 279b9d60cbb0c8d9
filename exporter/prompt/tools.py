"""The tools part: declarations, calls and results, learnt from probes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import format as form
from .json_writer import write
from .probing import Message, Place, Prober, Unexplained, common_end, common_start, mark, shown
from .schema_samples import sample_tool
from .schemas import SchemaLearner
from .separators import CALLED, Joints, Probe, Seen, build, check_refusals, observe, read_joints, tool_shapes
from .text_rules import learn_body
from .values import SAMPLES, learn_map, learn_string, learn_value, misfit


@dataclass(frozen=True)
class Learnt:
    """The tools part.

    Attributes:
        tools: The part itself.
        joints: All joints, including those of the plain chat.
        words: The body of words beside calls; None if calls can't have any.
    """

    tools: form.Tools
    joints: Joints
    words: form.Body | None


def _user(name: str = "u") -> dict[str, Any]:
    return {"role": "user", "content": mark(name)}


def _tool_marks(prober: Prober, tool: Message) -> tuple[str, str]:
    """Return the first and the last mark of a declaration in the text.

    Raises:
        Unexplained: If the template leaves out declarations or refuses them.
    """
    text = prober([_user()], [tool], True)
    if text is None:
        raise Unexplained("the template refuses tools")
    function = tool["function"]
    names = (function["name"], function["description"], *function["parameters"]["required"])
    names += tuple(p["description"] for p in function["parameters"]["properties"].values())
    if function["name"] not in text:
        raise Unexplained("the template writes no tool declarations")
    places = sorted(at for name in names for at in (text.find(name), text.rfind(name)) if at >= 0)
    first = next(name for name in names if text.startswith(name, places[0]))
    last = next(name for name in names if text.startswith(name, places[-1]))
    return first, last


def _split(heads: Sequence[str], tails: Sequence[str], middle: str) -> tuple[str, str, str]:
    """Return what each item opens and closes with, and what stands between two of them.

    Args:
        heads: The texts before a first item.
        tails: The texts after a last item.
        middle: The text between two items.
    """
    open_, close = common_end([*heads, middle]), common_start([*tails, middle])
    if len(open_) + len(close) > len(middle):
        close = close[: max(len(middle) - len(open_), 0)]
        open_ = open_[max(len(open_) + len(close) - len(middle), 0) :]
    return open_, close, middle[len(close) : len(middle) - len(open_)]


def _ends(joints: Joints, kind: str) -> tuple[list[str], list[str]]:
    heads = [text for (_, after), text in joints.items() if after == kind]
    return heads, [text for (before, _), text in joints.items() if before == kind]


def _cut(joints: Joints, kind: str, open_: str, close: str) -> Joints:
    """Return the joints without what belongs to the segments of ``kind`` themselves."""
    found = {}
    for (before, after), text in joints.items():
        text = text[len(close) :] if before == kind else text
        found[(before, after)] = text[: len(text) - len(open_)] if after == kind else text
    return found


class _ToolLearner:
    def __init__(self, prober: Prober, plain: Joints) -> None:
        self.prober = prober
        self.plain = plain
        self.system = ("start", "system") in plain
        self.tool = sample_tool()
        self.learner = SchemaLearner()

    def learn(self, special: Sequence[str]) -> Learnt:
        # Marks of a declaration may come several times: what counts is the text from the first to the last.
        first, last = _tool_marks(self.prober, self.tool)
        probes = [build(shape, self.tool, (first, last)) for shape in tool_shapes(self.system)]
        seen, refused = self._observe(probes)
        if not any("call" in each.kinds for each in seen):
            raise Unexplained("the template takes no tool calls, or leaves them out")
        try:
            joints = read_joints(seen)
        except Unexplained as reason:
            # Gemma 4 closes words differently if results stand before them. Without W0 no words stand right after
            # calls, so that the joint is missing, and words whose calls have no results yet are refused.
            seen = [each for each in seen if "W0" not in each.probe.shape]
            refused = [(probe, generation) for probe, generation in refused if "W0" not in probe.shape]
            probes = [probe for probe in probes if "W0" not in probe.shape]
            try:
                joints = read_joints(seen)
            except Unexplained:
                raise reason from None
        for pair, text in self.plain.items():
            if joints.setdefault(pair, text) != text:
                raise Unexplained(f"with tools, something else stands between {pair[0]} and {pair[1]}")
        check_refusals(joints, refused)
        place, order = self._order(seen)
        words = None
        if any("words" in each.kinds for each in seen):
            shown_words = [p for p in probes if any(part[0] == "W" for part in p.shape) and len(p.shape) < 5]
            words = learn_body(self.prober, shown_words, "words", special)
        joints, between_declarations, declaration = self._declarations(joints, first, last)
        joints, between_calls, call = self._calls(joints)
        joints, result = self._results(joints)
        self.learner.check_references()
        tools = form.Tools(
            place=place,  # type: ignore[arg-type]
            order=order,  # type: ignore[arg-type]
            marker=_marker(call.open, special),
            between_declarations=between_declarations,
            between_calls=between_calls,
            declaration=declaration,
            call=call,
            result=result,
            writers=self.learner.writers,
        )
        return Learnt(tools, joints, words)

    def _observe(self, probes: Sequence[Probe]) -> tuple[list[Seen], list[tuple[Probe, bool]]]:
        """Observe the probes.

        Raises:
            Unexplained: If the template writes the ids of calls.
        """
        for probe in probes[:100]:
            for entry in (entry for m in probe.messages for entry in m.get("tool_calls", ())):
                text = self.prober(probe.messages, probe.tools, True)
                if text is not None and entry["id"] in text:
                    raise Unexplained("the template writes the ids of calls")
        return observe(self.prober, probes)

    def _order(self, seen: Sequence[Seen]) -> tuple[str, tuple[str, ...]]:
        places = {each.kinds[:2] for each in seen} & {("system", "tools"), ("tools", "system")}
        if len(places) > 1:
            raise Unexplained("tools are declared now before, now after the system's text")
        for each in seen:
            head = each.kinds[: 2 if "S" in each.probe.shape else 1]
            if "tools" in each.kinds and "tools" not in head:
                raise Unexplained(f"tools are declared inside the chat, not before it, in a chat of {each.probe}")
        found = {self._order_of(each) for each in seen if len(each.probe.shape) <= 3} - {None}
        if len(found) > 1:
            raise Unexplained("the order of words, calls and results changes from chat to chat")
        order = next(iter(found), None) or ("words", "call")
        return "before-system" if ("tools", "system") in places else "after-system", order

    def _order_of(self, each: Seen) -> tuple[str, ...] | None:
        if sum(part[0] == "W" for part in each.probe.shape) != 1 or any(p[0] == "C" for p in each.probe.shape):
            return None
        if not {"words", "call", "result"} <= set(each.kinds):
            return None
        order = tuple(dict.fromkeys(kind for kind in each.kinds if kind in ("words", "call", "result")))
        return order[:2] if order[-1] == "result" else order

    def _declarations(self, joints: Joints, first: str, last: str) -> tuple[Joints, str, form.Writer]:
        second = sample_tool("b")
        text = self.prober([_user()], [self.tool, second], True)
        assert text is not None
        next_first, _ = _tool_marks(self.prober, second)
        if next_first not in text:
            raise Unexplained("of two tools, the template leaves one out")
        middle = text[text.rindex(last) + len(last) : text.index(next_first)]
        open_, close, between = _split(*_ends(joints, "tools"), middle)
        joints = _cut(joints, "tools", open_, close)
        before, after = joints[("start", "tools")], self._after(joints, "tools")
        place = Place.between(lambda v: self.prober([_user()], [v], True), before, after, "a tool")
        return joints, between, self.learner.tool(place)

    def _after(self, joints: Joints, kind: str) -> str:
        return joints[(kind, "user")] + mark("u") + joints[("user", "generation")]

    def _call_text(self, calls: Sequence[tuple[str, Any]]) -> str | None:
        entries = [
            {"id": f"idq000q{n:02}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for n, (name, arguments) in enumerate(calls)
        ]
        return self.prober([_user(), {"role": "assistant", "tool_calls": entries}], [self.tool], False)

    def _calls(self, joints: Joints) -> tuple[Joints, str, form.RecordWriter]:
        one, two = ("nameqa", {"key": mark("va")}), ("nameqb", {"key": mark("vb")})
        text = self._call_text([one, two])
        if text is None or text.count("nameqa") != 1 or mark("vb") not in text:
            raise Unexplained("the template doesn't write two calls in one message, or repeats their names")
        middle = text[text.index(mark("va")) + len(mark("va")) : text.index("nameqb")]
        open_, close, between = _split(*_ends(joints, "call"), middle)
        joints = _cut(joints, "call", open_, close)
        single = self._call_text([one])
        if single is None:
            raise Unexplained("the template refuses one call, though it takes two")
        before = single[: single.index("nameqa") - len(open_)]
        after = single[single.index(mark("va")) + len(mark("va")) + len(close) :]
        return joints, between, self._call_writer(before + open_, after, open_)

    def _call_writer(self, before: str, after: str, open_: str) -> form.RecordWriter:
        samples: Sequence[Any] = ({}, {"k": mark("s")}, {"a": 5}, {"b": [True]}, {"z": {"y": "x"}})
        arguments = Place(lambda v: self._call_text([("nameqa", v)]), samples, "a call's arguments")
        # The first value of a member tells all but the key's own quotes, which may have been taken for the place's.
        value = Place(lambda v: arguments.put({"aqk": v}), SAMPLES, "an argument")
        any_ = learn_value(value, "argument", self.learner.writers)
        assert isinstance(any_.string, form.StringWriter)
        if isinstance(any_.map, form.MapWriter):
            _give_back(arguments, any_.map)
        pairs = [(mark(n), write(any_.string, mark(n), {})) for n in ("one", "two")]
        map_ = learn_map(arguments, pairs[0], pairs[1], any_.string, form.RefWriter(name="argument"))
        if map_ is None:
            raise Unexplained("a call's arguments aren't written alike")
        name = Place(lambda v: self._call_text([(v, {"k": 1})]), ("nameqa", "Zz", "other"), "a call's name")
        quote = name.before[len(before) :]
        if not name.before.startswith(before) or misfit(learn_string(name), name, ["a_b", "x.y-z"]) is not None:
            raise Unexplained("the name of a call isn't written as it is")
        between = arguments.before[len(before) + len(quote) + len("nameqa") :]
        fields = (
            form.RecordField(key="name", after=between, when="required", writer=form.StringWriter()),
            form.RecordField(key="arguments", when="required", writer=map_),
        )
        close = arguments.after[: len(arguments.after) - len(after)]
        return form.RecordWriter(open=open_ + quote, between="", close=close, fields=fields)

    def _results(self, joints: Joints) -> tuple[Joints, form.RecordWriter]:
        call = {"id": "idq000q00", "type": "function", "function": {"name": CALLED, "arguments": {"k": "v"}}}
        asked = [_user(), {"role": "assistant", "tool_calls": [call]}]

        def put(content: Any) -> str | None:
            result = {"role": "tool", "tool_call_id": call["id"], "name": CALLED, "content": content}
            return self.prober([*asked, result], [self.tool], False)

        text = put(mark("r"))
        if text is None or ("call", "result") not in joints:
            raise Unexplained("the template takes calls, but no results after them")
        heads, tails = _ends(joints, "result")
        middle = joints.get(("result", "result"), "".join((tails[0], heads[0])))
        open_, close, _ = _split(heads, tails, middle)
        joints = _cut(joints, "result", open_, close)
        head, tail = text.split(mark("r"))
        place = Place(put, (*SAMPLES, mark("other")), "a tool's result")
        name: str | None = "within"
        try:
            inner = Place(lambda v: put({"aqk": v}), SAMPLES, "a member of a result")
            learn_value(inner, "within", self.learner.writers)
        except Unexplained:
            name = None
        content = learn_value(place, "result", self.learner.writers, name)
        outside = (len(head) - len(open_), len(tail) - len(close))
        before, after = place.before[outside[0] :], place.after[: len(place.after) - outside[1]]
        if len(place.before) < outside[0] or len(place.after) < outside[1]:
            raise Unexplained("what stands around a result depends on its content")
        del self.learner.writers["result"]
        return joints, _result_record(before, after, content)


def _result_record(before: str, after: str, content: form.AnyWriter) -> form.RecordWriter:
    """Return a result's writer from the text around its content, in a call of ``CALLED``."""
    if before.count(CALLED) > 1 or CALLED in after:
        raise Unexplained("a result repeats the name of its call")
    wanted = form.RecordField(key="content", when="required", writer=content)
    if CALLED not in before:
        return form.RecordWriter(open=before, between="", close=after, fields=(wanted,))
    open_, rest = before.split(CALLED)
    name = form.RecordField(key="name", after=rest, when="required", writer=form.StringWriter())
    return form.RecordWriter(open=open_, between="", close=after, fields=(name, wanted))


def _give_back(place: Place, nested: form.MapWriter) -> None:
    """Count braces that all arguments begin and end with as the arguments' own, as they are in nested objects."""
    if nested.open and place.before.endswith(nested.open) and place.after.startswith(nested.close):
        place.before = place.before[: len(place.before) - len(nested.open)]
        place.after = place.after[len(nested.close) :]


def _marker(open_: str, special: Sequence[str]) -> str:
    """Return what announces a call: the special token that its text begins with, or its first word."""
    begun = open_.strip()
    for token in sorted(special, key=len, reverse=True):
        if token and begun.startswith(token):
            return token
    if not begun:
        raise Unexplained(f"calls begin with nothing that could announce them: {shown(open_)}")
    return begun.split()[0]


def learn_tools(prober: Prober, plain: Joints, special: Sequence[str]) -> Learnt:
    """Learn the tools part.

    Args:
        prober: The template.
        plain: The joints of the chat part.
        special: Texts that the template could take out of the words beside a call.

    Raises:
        Unexplained: If there is none; the message is the reason.
    """
    return _ToolLearner(prober, plain).learn(special)
