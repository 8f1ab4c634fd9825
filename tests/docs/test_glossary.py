"""The glossary is in order, and its terms are those of the other pages."""

from tests.docs.pages import PAGES, page, rows

TERMS = [cells[0].strip("*") for cells in rows(page("docs/glossary.md"))]


def test_terms_are_sorted_and_explained_once() -> None:
    assert sorted(set(TERMS)) == TERMS


def test_a_term_is_used_on_another_page() -> None:
    others = " ".join(page(name).lower() for name in PAGES if name != "docs/glossary.md")
    assert [term for term in TERMS if term.lower() not in others] == []
