"""``prompt.json``: a chat template compiled by probing, so that an app needs no Jinja.

What others call (nothing heavy is imported before they do)::

    format.py      PROMPT_FILE = "prompt.json"
                   PromptFile                                  the model of the file; .model_dump_json() by prompt_text
                   read_prompt(data: bytes, where: str) -> PromptFile      raises ConformanceError, UnsupportedError
                   prompt_text(prompt: PromptFile) -> str      the file's content; the same prompt gives the same bytes
                   schema_text() -> str                        what prompt.schema.json should hold
    compiling.py   compile_codec(codec: ChatCodec, stop_ids: Iterable[int]) -> PromptFile
                   compile_prompt(render: Render, *, bos, stop, special=(), other_day=None, thinking=None) -> PromptFile
    rendering.py   render_prompt(prompt, messages, tools=None, add_generation_prompt=True, thinking=False) -> str
                       raises PromptRefused
                   without_thoughts(prompt, text) -> str       what the model wrote, for people
    thoughts.py    tell_thoughts(prompt, text, begun="") -> Told(words, thoughts); ThoughtStream, as a reply comes
                   thought_begun(prompt, rendered) -> str      what of a thought the prompt itself leaves open
    parsing.py     parse_calls(prompt, text) -> (list[ToolCall], words)    raises ValueError, naming the position
                   call_reader(prompt | None) -> ReadCalls     for behaviour checks; Gemma 4's where none is compiled
    generating.py  generate_chats(count, seed=0, level="tools") -> list[GeneratedChat]
    proving.py     make_prompt(codec, stop_ids, goldens: Sequence[Prompt], count=200) -> (PromptFile, PromptProof)
                       compiles and proves; what isn't proven is left out with its reason: what export calls
                   prove_prompt(prompt, codec, goldens: Iterable[Prompt], count=200, seed=0) -> PromptProof
                       what validate calls with the bundle's own prompt.json
                   PromptProof: passed, goldens, generated, same, refused, stricter, calls, differences, summary()
    cases.py       python -m gemcut.prompt.conformance_cases BUNDLE > cases.jsonl

The format itself is in docs/prompt.md.
"""
