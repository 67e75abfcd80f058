"""All texts of the scripts are in templates/texts.html, so that they can be translated."""

import re

from lesion_lens import ROOT

PROGRAMS = {path.name: path.read_text("utf-8") for path in (ROOT / "static").glob("*.js")}
STRING = re.compile(r"""(?<![\w$\])/])(["'`])((?:\\.|(?!\1).)*)\1""")


def without_comments(program):
    return re.sub(r"(?m)(?:^|\s)//.*$", "", program)


def test_every_text_of_the_scripts_stands_in_the_template(client):
    keys = set(re.findall('data-text="(.+?)"', client.get("/").text))
    # If a key depends on a condition, the call has both keys, before the words to fill in.
    asked = {
        key
        for program in PROGRAMS.values()
        for call in re.findall(r"\btext\(([^{;]*?)(?:, \{|\);|\)\)|\)\})", program)
        for key in re.findall(r'"([a-z-]+)"', call)
    }
    assert asked == keys


def test_no_script_holds_a_sentence():
    """A sentence has several words, and starts with a capital or a sign, or ends with one."""
    said = [
        (name, string)
        for name, program in PROGRAMS.items()
        for _, string in STRING.findall(without_comments(program))
        if re.search(r"[A-Z][a-z]+ [a-z]|[a-z] [a-z]+[.!?]$|^[A-Z][a-z]+ …$", string)
    ]
    assert said == []
