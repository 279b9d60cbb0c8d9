"""An export that was killed goes on from its finished stages.

A run works in a hidden folder beside its bundle's place (``bundle.staging.Staging``). After an error or Ctrl-C that
folder goes; a run that is killed (``kill -9``, no memory left, no power) leaves it, and the next export of the very
same thing takes it over:

- ``fingerprint``: what "the same thing" is: every input of an export, in one hash;
- ``journal``: what each finished stage made, with the hash of every file, put in place by one rename;
- ``serializers``: how each stage's product is written and read: as JSON and safetensors, so that nothing which is read
  can run code.

Kept are: the float model's goldens and logits, the compiled template, each runtime's program, what only running it
tells of it, its proof, its speed, and what each device did. Made again are: the plan, tokenizer files, packing,
sealing, budgets and publishing, which copy and hash files; to check a kept copy of theirs would take as long.
"""
