"""``prompt.json``: a chat template compiled by probing, so that an app needs no Jinja.

What others call (nothing heavy is imported before they do)::

    format.py         PROMPT_FILE = "prompt.json"
                      PromptFile                              the model of the file
                      read_prompt(data: bytes | str, where: str) -> PromptFile
                          raises ConformanceError, UnsupportedError
                      prompt_text(prompt: PromptFile) -> str  the file's content; the same prompt gives the same bytes
                      schema_text() -> str                    what prompt.schema.json should hold
    compiler.py       compile_codec(codec: ChatCodec, stop_ids: Iterable[int]) -> PromptFile
                      compile_prompt(render, *, bos, stop, special=(), other_day=None, thinking=None) -> PromptFile
    renderer.py       render_prompt(prompt, messages, tools=None, add_generation_prompt=True, thinking=False) -> str
                          raises PromptRefused
                      without_thoughts(prompt, text) -> str   what the model wrote, for people
    thoughts.py       tell_thoughts(prompt, text, begun="") -> Told(words, thoughts)
                      ThoughtStream(prompt, begun="")         the same, as a reply comes
                      thought_begun(prompt, rendered) -> str  what of a thought the prompt itself leaves open
    parser.py         parse_calls(prompt, text) -> (list[ToolCall], words)
                          raises ValueError, naming the position
                      call_reader(prompt | None) -> ReadCalls for behaviour checks; Gemma 4's form if none is compiled
    sample_chats.py   generate_chats(count, seed=0, level="tools") -> list[GeneratedChat]
    verification.py   make_prompt(codec, stop_ids, goldens: Sequence[Prompt], count=200) -> (PromptFile, PromptProof)
                          compiles and proves; what isn't proven is left out with its reason: what export calls
                      prove_prompt(prompt, codec, goldens: Iterable[Prompt], count=200, seed=0) -> PromptProof
                          what validate calls with the bundle's own prompt.json
                      PromptProof: passed, goldens, generated, same, refused, stricter, calls, differences, summary()
    codec.py          codec_of(bundle) -> ChatCodec           the bundle's own template and tokenizer
                      load_codec(tokenizer_json, template, special_tokens=None, bos_id=None) -> ChatCodec
    chats.py          Prompt                                  a prompt as a chat
                      render_chat(codec, prompt) -> str, encode_prompt(codec, prompt) -> (text, ids)
    conformance_cases.py  python -m gemcut.prompt.conformance_cases BUNDLE > cases.jsonl

Inside, compiler.py learns the file part by part: separators.py (the texts between segments), text_rules.py (what is
done to texts), tools.py with schemas.py, records.py, objects.py and values.py (declarations, calls and results), all by
way of probing.py; json_writer.py writes values with what was learnt, and segments.py cuts a chat into its parts.

The format itself is in docs/concepts/prompt.md.
"""
