"""The visible form of a response: lists, titles, sections, JSON, templates."""

from __future__ import annotations

import re
from itertools import pairwise

from verifiers.extract import unfence_json
from verifiers.kinds.constraint_checks.instruction import (
    Holds,
    count,
    instruction,
    phrase,
)
from verifiers.kinds.constraint_checks.segments import lines, sentences, strip_marks
from verifiers.strict_json import NotStrictJson, parse_json


@instruction("detectable_content:number_placeholders", num_placeholders=count)
def placeholders(text: str, num_placeholders: int) -> bool:
    return len(_PLACEHOLDER.findall(text)) >= num_placeholders


@instruction("detectable_content:postscript", postscript_marker=phrase)
def has_postscript(text: str, postscript_marker: str) -> bool:
    """A line begins with the marker, dots and spaces apart, and says something after it."""
    marker = r"[.\s]*".join(re.escape(char) for char in re.sub(r"[.\s]", "", postscript_marker))
    line = rf"^[ \t*_#>-]{{0,12}}{marker}(?!\w)[.:\s*_-]{{0,12}}\w"
    return re.search(line, text, re.IGNORECASE | re.MULTILINE) is not None


@instruction("detectable_format:constrained_response")
def constrained_response(text: str) -> bool:
    """Exactly one of the three answers is there: to give two is to give none."""
    return sum(1 for option in _YES_NO_MAYBE if option in text) == 1


@instruction("detectable_format:json_format")
def is_json(text: str) -> bool:
    """Strict JSON, alone or in one code fence."""
    inside = unfence_json(text)
    try:
        parse_json(text if inside is None else inside)
    except NotStrictJson:
        return False
    return True


@instruction("detectable_format:multiple_sections", section_spliter=phrase, num_sections=count)
def sections(text: str, section_spliter: str, num_sections: int) -> bool:
    """Lines that begin with the marker and a number, each with content before the next."""
    marker = re.escape(section_spliter)
    head = rf"^[ \t*_#>\[(\"-]{{0,12}}{marker}[ \t]{{0,4}}(\d{{1,4}})(?!\d)"
    parts = re.split(head, text, flags=re.MULTILINE)
    numbers = {number for number, part in zip(parts[1::2], parts[2::2], strict=True) if part[:1]}
    filled = sum(1 for part in parts[2::2] if strip_marks(part.replace(" ", "").replace("\n", "")))
    return filled >= num_sections and len(numbers) >= num_sections


@instruction("detectable_format:number_bullet_lists", num_bullets=count)
def bullets(text: str, num_bullets: int) -> bool:
    return len(_BULLET.findall(text)) == num_bullets


@instruction("detectable_format:number_highlighted_sections", num_highlights=count)
def highlights(text: str, num_highlights: int) -> bool:
    """Stretches of one line between single, double or triple asterisks."""
    return sum(1 for _ in _HIGHLIGHT.finditer(text)) >= num_highlights


@instruction("detectable_format:title")
def has_title(text: str) -> bool:
    return any(strip_marks(title.replace(" ", "")) for title in _TITLE.findall(text))


@instruction("format:list", sep=phrase)
def marked_list(text: str, sep: str) -> bool:
    return text.count(sep) >= 2


@instruction("format:options", options=phrase)
def one_option(text: str, options: str) -> bool:
    """The whole response is one of the options; lettered ones exactly as written."""
    parts = next((options.split(mark) for mark in ("/", " or ", ",") if mark in options), [options])
    wanted = [part.strip() for part in parts]
    if _LETTERED.match(options):
        return text in wanted
    return _bare(text) in {_bare(option) for option in wanted}


@instruction("format:output_template")
def follows_template(text: str) -> bool:
    """`My Answer:`, `My Conclusion:`, `Future Outlook:`, in this order, each followed by text."""
    found = _TEMPLATE.search(text)
    return found is not None and all(strip_marks(part.strip()[:200]) for part in found.groups())


@instruction("format:no_whitespace")
def has_no_whitespace(text: str) -> bool:
    return not _SPACE.search(text)


@instruction("format:newline")
def word_per_line(text: str) -> bool:
    found = [len(line.split()) for line in text.split("\n") if strip_marks(line.strip())]
    return set(found) == {1}


@instruction("format:line_indent")
def stairs(text: str) -> Holds:
    """Every line is indented further than the one before; one line shows nothing."""
    indents = [len(line) - len(line.lstrip(" ")) for line in lines(text)]
    return all(a < b for a, b in pairwise(indents)) if len(indents) > 1 else None


@instruction("format:sub-bullets")
def sub_bullets(text: str) -> bool:
    """Every `*` bullet has a `-` bullet under it before the next one."""
    marks = [found[1] or found[2] for found in _ANY_BULLET.finditer(text)]
    if "*" not in marks:
        return False
    first = marks.index("*")
    return all(
        mark == "-" or (index + 1 < len(marks) and marks[index + 1] == "-")
        for index, mark in enumerate(marks)
        if index >= first
    )


@instruction("format:no_bullets_bullets")
def sentences_then_bullets(text: str) -> bool:
    """Two sentences or more that end in a period, then nothing but two `*` bullets or more."""
    found = lines(text)
    first = next((i for i, line in enumerate(found) if line.lstrip().startswith("*")), len(found))
    said = sentences("\n".join(found[:first]))
    closed = [sentence for sentence in said if sentence.rstrip("\"'”’)").endswith(".")]
    listed = found[first:]
    starred = all(line.lstrip().startswith("*") for line in listed)
    return len(closed) >= 2 and len(listed) >= 2 and starred


@instruction("format:thesis")
def italic_thesis(text: str) -> bool:
    """A statement in `<i>` or `<em>` at the start of a line, and plain text after it."""
    found = list(_ITALIC.finditer(text))
    if not any(strip_marks(match[2].strip()) for match in found):
        return False
    return bool(strip_marks(text[found[0].end() :].strip()[:200]))


def _bare(text: str) -> str:
    return _EDGE.sub("", text.lower())


_PLACEHOLDER = re.compile(r"\[[^\[\]\n]{1,200}\]")
_YES_NO_MAYBE = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_BULLET = re.compile(r"^[ \t]*[*-][ \t]+(?![*-][ \t]*[*-])\S", re.MULTILINE)
_ANY_BULLET = re.compile(r"^[ \t]*(?:(-)[ \t]+|(\*)[ \t]*)(?:[^\s*]|\*\*)", re.MULTILINE)
_HIGHLIGHT = re.compile(r"(?<!\*)(\*{1,3})(?![\s*])[^*\n]{1,2000}?(?<!\s)\1(?!\*)")
_TITLE = re.compile(r"<<([^\n<>]{1,500})>>")
_LETTERED = re.compile(r"\W*[aA]\W*[bB]\W*[cC]\W*")
_TEMPLATE = re.compile(r"My Answer:(.+?)My Conclusion:(.+?)Future Outlook:(.+)", re.DOTALL)
_SPACE = re.compile(r"\s")
_ITALIC = re.compile(r"<(i|em)>(.{1,5000}?)</\1>", re.DOTALL | re.IGNORECASE)
_EDGE = re.compile(r"^[\W_]+|[\W_]+$")
