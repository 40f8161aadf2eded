"""Which block a key belongs to, without listing them: a plan may have very many."""

import re

from kdrec.store.plan import Block, BlockGrid

_LEDGER_KEY = re.compile(r"ledger/g([0-9]{5,9})-p([0-9]{5,9})\.json")
_SHARD_KEY = re.compile(r"([a-z_]+)/c/([0-9]{1,9})/([0-9]{1,9})/0")


def block_of_entry(grid: BlockGrid, key: str) -> Block | None:
    """The block whose ledger entry has this key."""
    match = _LEDGER_KEY.fullmatch(key)
    if match is None:
        return None
    block = _block(grid, int(match[1]), int(match[2]))
    return block if block is not None and block.ledger_key == key else None


def block_of_shard(grid: BlockGrid, key: str) -> Block | None:
    """The block that has a shard of this key, if the array exists."""
    match = _SHARD_KEY.fullmatch(key)
    if match is None:
        return None
    block = _block(grid, int(match[2]), int(match[3]))
    return block if block is not None and block.shard_key(match[1]) == key else None


def _block(grid: BlockGrid, group: int, part: int) -> Block | None:
    inside = group < grid.num_groups and part < grid.num_parts
    return grid.block(group, part) if inside else None
