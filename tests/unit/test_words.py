import unicodedata

import pytest
from hypothesis import given

from backlog_store.model import LIMITS
from backlog_store.testing.strategies import texts
from backlog_store.words import words_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \t\n-- ;'", []),
        ("Burn-rate is HIGH!", ["burn", "rate", "is", "high"]),
        ("x_y a.b don't", ["x_y", "a", "b", "don", "t"]),
        ("Straße STRASSE", ["strasse", "strasse"]),
        ("ＦＵＬＬ ﬁnance ②", ["full", "finance", "2"]),
        ("e\u0301t\u00e9", ["\u00e9t\u00e9"]),
        ("日本語、テスト", ["日本語", "テスト"]),
        ("Ωmega \u2126", ["ωmega", "ω"]),
    ],
)
def test_text_is_cut_and_folded_by_one_rule(text: str, expected: list[str]) -> None:
    """Case, width, ligatures and composed accents make no difference; signs part words, underscores do not."""
    assert words_of(text) == expected


@given(texts(max_size=60))
def test_folding_twice_is_folding_once(text: str) -> None:
    """The words of words are the same words, so that a query may be cut again."""
    words = words_of(text)
    assert words_of(" ".join(words)) == words


@given(texts(max_size=60))
def test_case_and_composition_do_not_matter(text: str) -> None:
    """A text finds itself in the other Unicode forms and in folded case."""
    words = words_of(text)
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert words_of(unicodedata.normalize(form, text)) == words
    assert words_of(unicodedata.normalize("NFD", text).casefold()) == words


def test_a_long_word_is_cut() -> None:
    """No word is longer than the limit, so that no index entry is."""
    assert words_of("a" * 200 + " b") == ["a" * LIMITS.word, "b"]
    assert words_of("é" * 200) == ["é" * LIMITS.word]


@pytest.mark.parametrize("code", range(128))
def test_an_ascii_text_is_cut_as_any_other(code: int) -> None:
    """Each ASCII character parts words or belongs to them, whatever else the text holds."""
    text = f"Left{chr(code)}Right {chr(code)}"
    assert words_of(text) == words_of(f"{text} é")[:-1]
