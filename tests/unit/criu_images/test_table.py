from __future__ import annotations

from llmux.criu_images._table import Table, plain_lines


def test_columns_are_aligned_empty_ones_left_out_and_nothing_trails():
    table = Table("Things", "must be here", ("a", "b", "c"), [("x", "", "long"), ("xyz", "", "")])
    assert list(plain_lines([table])) == ["Things (2): must be here", "  x    long", "  xyz"]


def test_tables_without_rows_are_left_out_and_an_empty_line_parts_the_others():
    one = Table("One", "", ("a",), [("x",)], count=9)
    assert list(plain_lines([Table("None", "", ("a",), []), one, one])) == [
        "One (9)",
        "  x",
        "",
        "One (9)",
        "  x",
    ]


def test_braces_in_a_path_are_only_braces():
    assert list(plain_lines([Table("One", "", ("a",), [("{0}",)])]))[1] == "  {0}"


def test_a_table_with_nothing_in_its_rows_is_its_heading_alone():
    assert list(plain_lines([Table("One", "", ("a",), [("",)])])) == ["One (1)"]
