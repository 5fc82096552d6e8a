"""Pages of documentation: their tables, the images beside them, and what was measured on what."""

from collections.abc import Mapping, Sequence
from pathlib import Path
import shutil

from rlt_ros.report.cells import cost, cost_line, provenance


def markdown_table(first: str, rows: Sequence[tuple[str, list[str]]], header: Sequence[str]) -> list[str]:
    """Lines of a table; first: what the names of its rows are."""
    lines = ['| ' + ' | '.join((first, *header)) + ' |', '|' + '---|' * (len(header) + 1)]
    return [*lines, *('| ' + ' | '.join((name, *texts)) + ' |' for name, texts in rows), '']


def pictures(images: Mapping[str, Path]) -> list[str]:
    """Lines that show images, one below the other, by the names that they have beside the page."""
    return [f'![{path.stem}](images/{name})\n' for name, path in images.items()]


def published(page: Path, lines: Sequence[str], rows: list[dict], images: Mapping[str, Path]) -> Path:
    """Write a page with its images beside it.

    rows: of what was measured, for `provenance`, which its end tells with what it cost; none where the lines tell it.
    """
    page.parent.mkdir(parents=True, exist_ok=True)
    if images:
        (page.parent / 'images').mkdir(exist_ok=True)
    for name, image in images.items():
        shutil.copyfile(image, page.parent / 'images' / name)
    end = [provenance(rows) + '.'] if rows else []
    if found := cost(rows):
        end += ['', cost_line(found) + '.']
    page.write_text('\n'.join([*lines, *end]) + '\n')
    return page
