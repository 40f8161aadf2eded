import pytest

from kdrec.api.conditions import entity_tag, lists_tag, range_applies

TAG = entity_tag("ab12")


@pytest.mark.parametrize(
    "header", ['"ab12"', 'W/"ab12"', '"x", "ab12"', '"x,y",W/"ab12" ', "*", " * ", '"", "ab12"']
)
def test_a_tag_is_found_in_a_list(header: str) -> None:
    assert lists_tag(header, TAG, weak=True)


@pytest.mark.parametrize("header", ["", "ab12", '"AB12"', '"ab1"', '"x", "y"', '"ab12', '"x*"'])
def test_other_tags_do_not_match(header: str) -> None:
    assert not lists_tag(header, TAG, weak=True)


def test_a_weak_tag_counts_only_where_it_may() -> None:
    assert lists_tag('W/"ab12"', TAG, weak=True)
    assert not lists_tag('W/"ab12"', TAG, weak=False)
    assert lists_tag('W/"x", "ab12"', TAG, weak=False)


@pytest.mark.parametrize(
    ("header", "applies"),
    [
        (None, True),
        ('"ab12"', True),
        ('"other"', False),
        ('W/"ab12"', False),
        ("Wed, 21 Oct 2015 07:28:00 GMT", False),
    ],
)
def test_a_range_applies_only_to_the_very_bytes(header: str | None, applies: bool) -> None:
    assert range_applies(header, TAG) is applies
