# SPDX-License-Identifier: GPL-2.0-only
"""Taking commands out of documents."""

from __future__ import annotations

import pytest
from support.documents import Block, blocks

DOCUMENT = """\
# Title

```sh
one
# no heading
two
```

## Then

```
not a command
```

```yaml
nor: this
```

```sh q
three
```
"""


def test_only_blocks_of_sh_are_commands() -> None:
    """With their headings, and the keys that are pressed meanwhile."""
    assert blocks(DOCUMENT) == [Block("Title", "one\n# no heading\ntwo"), Block("Then", "three", "q")]


def test_a_block_without_an_end_is_a_mistake() -> None:
    """It would swallow all that follows."""
    with pytest.raises(AssertionError, match="below 'Title' does not end"):
        blocks("# Title\n```sh\none\n")
