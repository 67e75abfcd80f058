"""Templates as JSON trees, so that a browser can fill them in as the server does.

Jinja's own parser makes them, and static/templates.js reads them. A node is an object with the name
of its class as `kind`, and its fields as in jinja2.nodes. Empty fields are left out.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from flask import current_app
from jinja2 import nodes

Tree = list[dict[str, Any]]

# The variable for the path of the app, such as '/'. Unlike the trees, it depends on the proxy in
# front.
ROOT = "app_root"


def trees_of(name: str, blocks: Sequence[str]) -> dict[str, Tree]:
    """Return the trees of blocks of a template; needs the app's context.

    Args:
        name: of the template.
        blocks: their names.

    Returns:
        The tree of each block, and `head`, which must be filled in first: the template's variables
        and the imported macros that it needs.

    Raises:
        TypeError: the template uses something that static/templates.js does not support.
    """
    template = _parsed(name)
    head: Tree = []
    for node in template.body:
        if isinstance(node, nodes.Import):
            body = _laid_out(_imported(node, _names_in([template])))
            head.append({"kind": "Import", "target": node.target, "body": body})
        elif isinstance(node, nodes.Assign):
            head.append(_laid_out(node))
    found = {block.name: block.body for block in template.find_all(nodes.Block)}
    return {"head": head} | {block: _laid_out(found[block]) for block in blocks}


def _parsed(name: str) -> nodes.Template:
    environment = current_app.jinja_env
    assert environment.loader is not None  # noqa: S101 (for mypy: Flask's has one)
    source, _, _ = environment.loader.get_source(environment, name)
    return environment.parse(source, name)


def _imported(node: nodes.Import, wanted: set[str]) -> list[nodes.Node]:
    """Return the wanted macros and variables from an import, and those that they need, in order."""
    known: dict[str, nodes.Node] = {}
    for one in _parsed(node.template.as_const()).body:
        if isinstance(one, nodes.Macro):
            known[one.name] = one
        elif isinstance(one, nodes.Assign) and isinstance(one.target, nodes.Name):
            known[one.target.name] = one
    needed: set[str] = set()
    while wanted:
        needed |= wanted
        wanted = _names_in(known[name] for name in wanted & known.keys()) - needed
    return [one for name, one in known.items() if name in needed]


def _names_in(trees: Iterable[nodes.Node]) -> set[str]:
    """Return all names that are read or called in trees, including those in `parts.row`."""
    names: set[str] = set()
    for tree in trees:
        names |= {node.name for node in tree.find_all(nodes.Name)}
        names |= {node.attr for node in tree.find_all(nodes.Getattr)}
    return names


def _laid_out(value: Any) -> Any:
    """Turn a node, or a list of nodes, into JSON-serialisable values."""
    if isinstance(value, list | tuple):
        return [_laid_out(one) for one in value]
    if not isinstance(value, nodes.Node):
        return value
    if isinstance(value, nodes.Call) and getattr(value.node, "name", None) == "url_for":
        return _laid_out(_address(value))
    if isinstance(value, nodes.If) and value.elif_:
        first, *rest = value.elif_
        other = nodes.If(first.test, first.body, rest, value.else_)
        value = nodes.If(value.test, value.body, [], [other])
    if isinstance(value, nodes.For) and (value.test or value.else_ or value.recursive):
        raise TypeError("static/templates.js has no `for … if`, `for … else` or recursive loops.")
    if isinstance(value, nodes.Filter | nodes.Test) and value.kwargs:
        raise TypeError(f"{value.name} takes no named arguments in static/templates.js.")
    fields = {name: _laid_out(field) for name, field in value.iter_fields(exclude=("ctx",))}
    is_constant = isinstance(value, nodes.Const)
    kept = {name: field for name, field in fields.items() if field or is_constant}
    return {"kind": type(value).__name__, **kept}


def _address(call: nodes.Call) -> nodes.Concat:
    """Replace a call of url_for with the app's path and a constant."""
    endpoint, *_ = (one.as_const() for one in call.args)
    values = {one.key: one.value.as_const() for one in call.kwargs}
    path = current_app.url_map.bind("").build(endpoint, values)
    return nodes.Concat([nodes.Name(ROOT, "load"), nodes.Const(path.removeprefix("/"))])
