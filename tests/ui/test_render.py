"""Templates say only what their context says, and load nothing from elsewhere."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from pathlib import Path

import pytest
from jinja2 import meta, nodes

from app.ui import pages
from app.ui.cache_page import CachePage
from app.ui.labels import LabelPanel
from app.ui.night import NightPage
from app.ui.nights import NightsPage
from app.ui.reliability import ReliabilityPage
from app.ui.render import HERE, environment, render, static_names, static_response
from app.ui.trace_detail import TraceDetail
from app.ui.trace_list import TraceList

PAGES = {
    "list.html": TraceList,
    "trace.html": TraceDetail,
    "login.html": pages.LoginPage,
    "reliability.html": ReliabilityPage,
    "notice.html": pages.Notice,
    "cache.html": CachePage,
    "night.html": NightPage,
    "nights.html": NightsPage,
}
FILES = sorted([*(HERE / "templates").iterdir(), *(HERE / "static").iterdir()])


def parsed(name: str) -> nodes.Template:
    source = (HERE / "templates" / name).read_text(encoding="utf-8")
    return environment().parse(source)


def fields_used(name: str, variable: str) -> set[str]:
    tree = parsed(name)
    own = {
        node.attr
        for node in tree.find_all(nodes.Getattr)
        if isinstance(node.node, nodes.Name) and node.node.name == variable
    }
    extended = [t for t in meta.find_referenced_templates(tree) if t == "base.html"]
    return own.union(*(fields_used(base, variable) for base in extended))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_uses_every_field_of_its_context_and_no_other(name):
    assert fields_used(name, "page") == {field.name for field in dataclasses.fields(PAGES[name])}


def test_the_label_fragment_uses_only_its_context():
    known = {field.name for field in dataclasses.fields(LabelPanel)}

    assert fields_used("labels.html", "panel") <= known


@pytest.mark.parametrize("name", PAGES)
def test_a_page_knows_nothing_but_its_context(name):
    tree = parsed(name)
    macros = {macro for node in tree.find_all(nodes.FromImport) for macro in node.names}

    assert meta.find_undeclared_variables(tree) - macros <= {"page", "static"}


@pytest.mark.parametrize("cls", [*PAGES.values(), LabelPanel], ids=lambda cls: cls.__name__)
def test_every_field_of_a_context_has_its_help(cls):
    """A string under a field is its help."""
    [body] = (node.body for node in ast.parse(inspect.getsource(cls)).body)
    fields = [n for n, node in enumerate(body) if isinstance(node, ast.AnnAssign)]

    assert [body[n].target.id for n in fields if not isinstance(body[n + 1], ast.Expr)] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_file_names_another_server(file: Path):
    text = file.read_text(encoding="utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")

    assert re.findall(r"(?:https?:)?//[\w-]+\.[\w.-]+", text) == []


@pytest.mark.parametrize(
    "file", [f for f in FILES if f.suffix == ".html"], ids=lambda file: file.name
)
def test_no_template_has_inline_script_or_style(file: Path):
    text = file.read_text(encoding="utf-8")

    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|\|\s*safe", text)


def test_every_static_file_is_served_with_its_type():
    types = {name: static_response(name).headers["content-type"] for name in static_names()}

    assert types["verivote.css"] == "text/css; charset=utf-8"
    assert types["verivote.js"] == "text/javascript; charset=utf-8"
    assert types["icon.svg"] == "image/svg+xml"
    assert "htmx.LICENSE.txt" in types


@pytest.mark.parametrize("name", ["../pages.py", "nothing.css", "", "%2e%2e/pages.py"])
def test_nothing_else_is_served_as_static(name):
    assert static_response(name) is None


def test_own_script_stays_small():
    assert len((HERE / "static" / "verivote.js").read_text(encoding="utf-8").splitlines()) < 90


def test_values_are_escaped_and_concealed_characters_written_out():
    body = render("message.html", message="<b>\u202e&").body.decode()

    assert "&lt;b&gt;⟨U+202E⟩&amp;" in body
