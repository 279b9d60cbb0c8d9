"""An export that was killed continues from its finished stages.

A run works in a hidden folder beside its bundle's place (``bundle.staging.Staging``). After an error or Ctrl-C that
folder is removed; a run that is killed (``kill -9``, no memory left, no power) leaves it, and the next export of the
very same thing reuses it:

- ``fingerprint``: what "the same thing" is: every input of an export, in one hash;
- ``journal``: what each finished stage made, with the hash of every file, put in place by one rename;
- ``serializers``: how each stage's product is written and read: as JSON and safetensors, so that nothing that is read
  can run code.

These products are kept: the float model's goldens and logits, the compiled template, each runtime's program, what only
running it can tell, its proof, its speed, and what each device did. These are made again: the plan, tokenizer files,
packing, sealing, budgets and publishing, which copy and hash files; checking a kept copy would take as long.
"""
