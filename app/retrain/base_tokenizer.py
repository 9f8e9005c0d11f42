"""`python -m app.retrain.base_tokenizer FOLDER`: the digest of a base model's tokenizer.

The same digest as of the server's samples (`app/engines/fingerprint.py`), so a log that another
tokenizer has split is noticed however much of it there is. Run by the interpreter that trains: the
gateway's own may have no transformers. Chat templates are not compared with the folder's, because a
server may be started with another one, and prompts are trained on as the server wrote them.
"""

from __future__ import annotations

import sys

from app.engines.fingerprint import TEXT, digest_ids

FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")
"""A folder without any of them has no tokenizer to be asked."""


def main(arguments: list[str]) -> int:
    from transformers import AutoTokenizer

    (folder,) = arguments
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    sys.stdout.write(digest_ids(tokenizer.encode(TEXT, add_special_tokens=False)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
