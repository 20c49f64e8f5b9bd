"""The rules of the house as a program over source text: who may import whom, no state in modules, no work at import, sizes.

`find_breaches` reads; it imports nothing of what it judges. tests/test_architecture.py applies it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 60

PARTS = frozenset({"core", "catalog", "engine", "jobs", "plugins"})
MAY_IMPORT: Mapping[str, frozenset[str]] = {
    "core": frozenset(),
    "flags": frozenset(),
    "catalog": frozenset({"core"}),
    "engine": frozenset({"core", "catalog"}),
    "jobs": frozenset({"core", "catalog"}),
    "plugins": frozenset({"core"}),
    "app": PARTS,
    "api": frozenset({"app", "core"}),
    "ui": frozenset({"app", "core"}),
    "cli": PARTS | {"app", "api", "ui", "flags"},
    "launch": frozenset({"cli", "flags"}),
}
ENGINE_LIBRARIES = ("torch", "torchvision", "diffusers", "transformers", "peft", "accelerate", "controlnet_aux", "spandrel", "onnxruntime")
LIBRARY_ROOMS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(ENGINE_LIBRARIES, frozenset({"engine"})),
    **dict.fromkeys(("gradio", "gradio_client"), frozenset({"ui"})),
    **dict.fromkeys(("fastapi", "starlette", "uvicorn"), frozenset({"api", "cli"})),
}

# Every import inside a function, by file and function, with its reason.
LATE_IMPORTS: Mapping[tuple[str, str], str] = {
    ("launch.py", "main"): "what it imports is installed by then",
    ("webui/engine/annotator_networks.py", "aux"): "controlnet_aux brings timm and more, for preprocessors that few use",
    ("webui/cli.py", "_build"): "gradio is not imported with --nowebui",
    ("webui/engine/image_models.py", "_spandrel"): "takes more than a second, and most jobs need none of it",
    ("webui/plugins/modules.py", "_imported"): "it is the importing of an extension's libraries",
    ("webui/engine/tags.py", "_runtime"): "only taggers need it, and it is not there for every machine",
    ("webui/engine/warmup.py", "WarmingEngine._build"): "torch is imported behind the page",
}

# A container declared with one of these types is one that mypy lets nobody change.
READ_ONLY_TYPES = ("Mapping[", "Sequence[", "Collection[", "Set[")
FREEZERS = frozenset({"frozenset", "tuple", "MappingProxyType"})
PURE = frozenset({
    "len", "min", "max", "sum", "int", "float", "str", "bytes", "range", "slice", "sorted", "zip", "enumerate", "chr", "ord", "round",
    "abs", "escape", "attrgetter", "itemgetter", "timedelta", "Struct",
})  # fmt: skip
DECLARATIONS = frozenset({
    "getLogger", "compile", "TypeVar", "ParamSpec", "TypeVarTuple", "NewType", "namedtuple", "NamedTuple", "field", "Field",
    "ConfigDict", "SettingsConfigDict", "PrivateAttr", "TypeAdapter", "parameter", "flag", "Parameter", "HookspecMarker",
    "HookimplMarker", "Path", "Query", "Body", "Header", "Depends", "File", "Form",
})  # fmt: skip
DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Module:
    """One file, parsed.  imports: what its top level imports, as (dotted name, line)."""

    path: str
    source: str
    tree: ast.Module
    imports: tuple[tuple[str, int], ...] = field(default=())

    @property
    def name(self) -> str:
        """Dotted, "webui.core.errors"."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def room(self) -> str:
        """The folder under webui/, or the file that stands alone there; "webui" for its __init__."""
        return _room_of(self.name)


def find_breaches(sources: Mapping[str, str], *, late_imports: Mapping[tuple[str, str], str] = LATE_IMPORTS) -> list[str]:
    """What breaks a rule, as "file:line: sentence".  sources: text by path, "webui/core/errors.py" or "launch.py"."""
    modules = [_parse(path, source, frozenset(sources)) for path, source in sorted(sources.items())]
    frozen = _frozen_classes(modules)
    found: list[str] = []
    for module in modules:
        for line, sentence in (
            *_arrows(module),
            *_late_imports(module, late_imports),
            *_globals(module),
            *_sizes(module),
            *_import_time(module.tree.body, frozen),
        ):
            found.append(f"{module.path}:{line}: {sentence}")
    return found + _cycles(modules)


def _parse(path: str, source: str, paths: frozenset[str]) -> Module:
    tree = ast.parse(source, path)
    return Module(path, source, tree, tuple(_top_level_imports(tree.body, paths)))


def _top_level_imports(body: list[ast.stmt], paths: frozenset[str]) -> Iterator[tuple[str, int]]:
    for statement in body:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            yield from ((name, statement.lineno) for name in _imported(statement, paths))
        elif not isinstance(statement, (*FUNCTIONS, ast.ClassDef)) and not _is_type_checking(statement):
            for block in ("body", "orelse", "finalbody"):
                yield from _top_level_imports(getattr(statement, block, []), paths)


def _imported(statement: ast.Import | ast.ImportFrom, paths: frozenset[str]) -> list[str]:
    """Dotted names; `from webui.core import errors` counts as webui.core.errors, where that is a file."""
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    base = "." * statement.level + (statement.module or "")
    submodules = [f"{base}.{alias.name}" for alias in statement.names]
    folder = [name for name in submodules if {name.replace(".", "/") + ".py", name.replace(".", "/") + "/__init__.py"} & paths]
    return folder if len(folder) == len(submodules) else [base, *folder]


def _is_type_checking(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and ast.unparse(statement.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _room_of(name: str) -> str:
    parts = name.split(".")
    return parts[1] if parts[0] == "webui" and len(parts) > 1 else parts[0]


def _arrows(module: Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module.tree):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        if isinstance(node, ast.ImportFrom) and node.level:
            yield node.lineno, "imports relatively; write the whole name"
        elif isinstance(node, ast.ImportFrom) and node.module == "webui":
            names = [f"webui.{alias.name}" for alias in node.names if not alias.name.startswith("__")]
        for name in names:
            yield from ((node.lineno, sentence) for sentence in _wrong_import(module.room, name))


def _wrong_import(room: str, name: str) -> Iterator[str]:
    library = name.split(".")[0]
    if library == "webui" and "." in name:
        target = _room_of(name)
        if target != room and target not in MAY_IMPORT.get(room, frozenset()):
            allowed = ", ".join(sorted(MAY_IMPORT.get(room, frozenset()))) or "nothing of the house"
            yield f"{room} imports {name}; {room} may import {allowed}"
    elif library in LIBRARY_ROOMS and room not in LIBRARY_ROOMS[library]:
        yield f"{room} imports {library}, which belongs in {' and '.join(sorted(LIBRARY_ROOMS[library]))}"


def _late_imports(module: Module, allowed: Mapping[tuple[str, str], str]) -> Iterator[tuple[int, str]]:
    used = set()
    for name, function in _functions(module.tree):
        for node in _own_nodes(function):
            by_call = isinstance(node, ast.Call) and _dotted(node.func) in ("importlib.import_module", "import_module", "__import__")
            if not (isinstance(node, (ast.Import, ast.ImportFrom)) or by_call):
                continue
            used.add((module.path, name))
            if (module.path, name) not in allowed:
                yield node.lineno, f"{name} imports inside the function; import at the top, or name it with its reason in LATE_IMPORTS"
    for path, name in allowed:
        if path == module.path and (path, name) not in used:
            yield 1, f"LATE_IMPORTS allows {name} an import that it does not have; take it out of the list"


def _functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, FUNCTIONS):
            yield prefix + node.name, node
        named = isinstance(node, (*FUNCTIONS, ast.ClassDef))
        yield from _functions(node, f"{prefix}{node.name}." if named else prefix)


def _own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a function but those of functions inside it."""
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, FUNCTIONS):
            yield node
            yield from _own_nodes(node)


def _globals(module: Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Global):
            yield node.lineno, f"global {', '.join(node.names)}; let an object own it"


def _sizes(module: Module) -> Iterator[tuple[int, str]]:
    lines = len(module.source.splitlines())
    if lines > MAX_FILE_LINES:
        yield lines, f"the file has {lines} lines; at most {MAX_FILE_LINES}"
    for name, function in _functions(module.tree):
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        if length > MAX_FUNCTION_LINES:
            yield function.lineno, f"{name} has {length} lines; at most {MAX_FUNCTION_LINES}"


def _import_time(body: list[ast.stmt], frozen: frozenset[str]) -> Iterator[tuple[int, str]]:
    """What a module, or a class, does or makes when it is imported."""
    for statement in body:
        if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            yield from _values(statement.value, frozen, is_frozen=_is_read_only(statement))
        elif isinstance(statement, ast.Expr):
            if not isinstance(statement.value, ast.Constant):
                yield statement.lineno, f"does work at import: {ast.unparse(statement.value)[:60]}"
        elif isinstance(statement, ast.ClassDef):
            yield from _import_time(statement.body, frozen)
        elif isinstance(statement, FUNCTIONS):
            for default in (*statement.args.defaults, *statement.args.kw_defaults):
                yield from _values(default, frozen)
        elif isinstance(statement, ast.If):
            if not ast.unparse(statement.test).startswith("__name__"):
                yield from _import_time([*statement.body, *statement.orelse], frozen)
        elif not isinstance(statement, (ast.Import, ast.ImportFrom, ast.Pass)):
            yield statement.lineno, f"does work at import: a {type(statement).__name__.lower()} statement outside functions"


def _is_read_only(statement: ast.Assign | ast.AnnAssign | ast.AugAssign) -> bool:
    if isinstance(statement, ast.AnnAssign):
        return ast.unparse(statement.annotation).removeprefix("Final[").startswith(READ_ONLY_TYPES)
    return isinstance(statement, ast.Assign) and _dotted(statement.targets[0]) == "__all__"


def _values(value: ast.AST | None, frozen: frozenset[str], *, is_frozen: bool = False) -> Iterator[tuple[int, str]]:
    """Mutable containers and calls within a value.  is_frozen: it is the argument of something that freezes or copies it."""
    if value is None or isinstance(value, ast.Lambda):
        return
    if isinstance(value, ast.Subscript):
        # What stands in the brackets is an index, or types.
        yield from _values(value.value, frozen)
        return
    if isinstance(value, ast.Call):
        if not _may_call(value.func, frozen):
            yield value.lineno, f"calls {ast.unparse(value.func)[:60]} at import; make it where it is owned"
            return
        for argument in (*value.args, *(keyword.value for keyword in value.keywords)):
            yield from _values(argument, frozen, is_frozen=True)
        return
    if isinstance(value, DISPLAYS) and not is_frozen:
        yield value.lineno, f"mutable state outside objects: {ast.unparse(value)[:40]}; use a tuple, a frozenset, or declare a Mapping"
    for child in ast.iter_child_nodes(value):
        yield from _values(child, frozen)


def _may_call(function: ast.expr, frozen: frozenset[str]) -> bool:
    if isinstance(function, ast.Attribute):
        # Chains that begin with a path or a literal text or bytes compute a constant.
        start: ast.AST = function.value
        while isinstance(start, (ast.Attribute, ast.Subscript, ast.Call)):
            start = start.func if isinstance(start, ast.Call) else start.value
        if isinstance(start, ast.Constant) or (isinstance(start, ast.Name) and start.id == "Path"):
            return True
    return _dotted(function).rpartition(".")[2] in FREEZERS | PURE | DECLARATIONS | frozen


def _dotted(node: ast.AST) -> str:
    return ast.unparse(node) if isinstance(node, (ast.Name, ast.Attribute)) else ""


def _frozen_classes(modules: list[Module]) -> frozenset[str]:
    classes = [node for module in modules for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)]
    return frozenset(node.name for node in classes if _is_frozen(node))


def _is_frozen(node: ast.ClassDef) -> bool:
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    return any("dataclass(" in text and "frozen=True" in text for text in decorators) or any(
        _dotted(base).rpartition(".")[2] in ("NamedTuple", "Enum", "StrEnum", "IntEnum") for base in node.bases
    )


def _cycles(modules: list[Module]) -> list[str]:
    """Each import that closes a circle, once."""
    graph = {module.name: module for module in modules}
    done: set[str] = set()
    found: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        for target, line in graph[name].imports:
            if target in (*above, name):
                circle = " -> ".join((*above, name)[(*above, name).index(target) :])
                found.append(f"{graph[name].path}:{line}: closes a circle of imports: {circle} -> {target}")
            elif target in graph and target not in done:
                visit(target, (*above, name))
        done.add(name)

    for name in graph:
        if name not in done:
            visit(name, ())
    return found
