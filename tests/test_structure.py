"""The rooms of the house: arrows point down, nothing goes in circles, the systems do not know each other."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1] / "aetheory"
FLOORS = (
    {"core"},
    {"spectra", "sources"},
    {"linear", "two_layer", "group_sparse"},
    {"sweeps", "inference", "plotting", "sklearn"},
    {"reproduce", "explore", "cli", "__main__"},
)
ALLOWED_BESIDE = {
    ("plotting", "inference"),
    ("sweeps", "plotting"),
    ("cli", "reproduce"),
    ("cli", "explore"),
    ("__main__", "cli"),
}
SYSTEMS = {"linear", "two_layer", "group_sparse"}
LONGEST_MODULE = 400


def module_name(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in ROOT.rglob("*.py")}


def imported(tree):
    """What a module imports, also inside its functions, but for what only type checkers see."""
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for part in node.body
        for inner in ast.walk(part)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def arrows(name):
    """The modules of the library that this one imports."""
    for target in imported(MODULES[name]):
        while target and target not in MODULES:
            target = target.rpartition(".")[0]
        if target not in ("", "aetheory", name):
            yield target


def room(name):
    return name.split(".")[1] if "." in name else ""


GRAPH = {name: set(arrows(name)) for name in MODULES}


def floor(name):
    return next(level for level, rooms in enumerate(FLOORS) if room(name) in rooms)


def test_every_room_has_a_floor():
    assert {room(name) for name in MODULES} - {""} == set().union(*FLOORS)


def test_no_arrow_points_up_or_from_one_room_to_its_neighbour():
    wrong = []
    for name, targets in GRAPH.items():
        for target in targets:
            beside = floor(target) == floor(name) and room(target) != room(name)
            allowed = beside and (room(name), room(target)) in ALLOWED_BESIDE
            if name != "aetheory" and (floor(target) > floor(name) or (beside and not allowed)):
                wrong.append(f"{name} → {target}")
    assert not wrong


def test_the_systems_do_not_import_each_other():
    for name, targets in GRAPH.items():
        if room(name) in SYSTEMS:
            assert not {room(target) for target in targets} & (SYSTEMS - {room(name)}), name


def test_nothing_goes_in_circles():
    """Leaves are taken away until none is left."""
    left = {name: set(targets) for name, targets in GRAPH.items()}
    while leaves := {name for name, targets in left.items() if not targets & left.keys()}:
        left = {name: targets for name, targets in left.items() if name not in leaves}
    assert not left


def test_no_module_is_longer_than_a_reader_keeps_in_mind():
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in ROOT.rglob("*.py")}
    assert max(lengths.values()) <= LONGEST_MODULE, max(lengths, key=lengths.get)
