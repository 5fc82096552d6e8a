"""docs/faults.md against the tests it was made from."""

from pathlib import Path

import fault_table

PAGE = Path(__file__).parents[2] / 'docs' / 'faults.md'


def test_every_fault_has_a_test_or_a_reason_and_not_both() -> None:
    shown = {row.fault for row in fault_table.rows()}
    assert shown <= fault_table.FAULTS.keys()
    assert shown ^ fault_table.NOT_HERE.keys() == fault_table.FAULTS.keys()


def test_the_page_is_of_these_tests() -> None:
    fresh = fault_table.page({}, '')
    hint = './rlt test --faults-page docs/faults.md writes it anew'
    assert fault_table.without_numbers(PAGE.read_text()) == fault_table.without_numbers(fresh), hint
