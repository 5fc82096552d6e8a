"""The package holds together: versions, messages, declared dependencies, and who may import what."""

import ast
from importlib import import_module, metadata
from pathlib import Path
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[1]
MESSAGES = sorted(path.stem for path in (ROOT / 'msg').glob('*.msg'))
SOURCES = sorted((ROOT / 'rlt_ros').rglob('*.py'))
# Modules whose rosdep key has another name.
SYSTEM_KEYS = {
    'PIL': 'python3-pil',
    'cv2': 'python3-opencv',
    'matplotlib': 'python3-matplotlib',
    'numpy': 'python3-numpy',
    'psutil': 'python3-psutil',
    'pygame': 'python3-pygame',
    'yaml': 'python3-yaml',
}


def pins(*files: str) -> dict[str, str]:
    """Lower-case names and versions of requirements files; every line must be an exact pin."""
    found = {}
    for file in files:
        for line in (ROOT / file).read_text().splitlines():
            if line and not line.startswith('#'):
                name, version = line.split('==')
                found[normal(name)] = version
    return found


def normal(name: str) -> str:
    return re.sub(r'[-_.]+', '-', name).lower()


def manifest() -> ElementTree.Element:
    return ElementTree.parse(ROOT / 'package.xml').getroot()


def imports(path: Path) -> set[str]:
    """Full names of the modules a source file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}:{node.lineno}: imports are absolute in this package'
            found |= {node.module, *(f'{node.module}.{alias.name}' for alias in node.names)}
    return found


def example(kind: str) -> object:
    """A value that is not the default, for a field type as rclpy names it."""
    if match := re.fullmatch(r'sequence<(.+)>', kind):
        return [example(match[1])] * 2
    if kind == 'string':
        return 'grün'
    if kind == 'boolean':
        return True
    if kind.startswith(('float', 'double')):
        return 0.5
    if kind.startswith(('int', 'uint')):
        return 7
    package, name = kind.split('/')
    return filled(getattr(import_module(f'{package}.msg'), name))


def filled(message_type: type) -> object:
    fields = message_type.get_fields_and_field_types()
    return message_type(**{name: example(kind) for name, kind in fields.items()})


@pytest.mark.parametrize('name', MESSAGES)
def test_message_survives_the_wire(name):
    from rclpy.serialization import deserialize_message, serialize_message

    message_type = getattr(import_module('rlt_ros.msg'), name)
    message = filled(message_type)
    assert message != message_type()
    assert deserialize_message(serialize_message(message), message_type) == message


def test_one_version_everywhere():
    version = manifest().findtext('version')
    assert import_module('rlt_ros').__version__ == version
    try:
        assert metadata.version('rlt_ros') == version      # what pip installed; colcon leaves no such record
    except metadata.PackageNotFoundError:
        pass


def test_pip_builds_with_the_pins_of_the_requirements():
    text = (ROOT / 'pyproject.toml').read_text()
    build = dict(re.findall(r'^  "([^"=]+)==([^"]+)",$', text, re.MULTILINE))
    known = pins('requirements-wheels.txt', 'requirements-dev.txt')
    assert build
    assert {name: known.get(normal(name)) for name in build} == build


def test_constraints_do_not_repeat_requirements():
    direct = pins('requirements.txt', 'requirements-wheels.txt', 'requirements-dev.txt')
    assert not direct.keys() & pins('constraints.txt').keys()


def test_every_import_is_declared():
    keys = {element.text for element in manifest() if element.tag.endswith('depend')}
    pip_only, wheels = pins('requirements.txt'), pins('requirements-wheels.txt')
    distributions = metadata.packages_distributions()
    undeclared = {}
    for path in SOURCES:
        for module in {name.split('.')[0] for name in imports(path)} - sys.stdlib_module_names - {'rlt_ros'}:
            by_pip = {normal(name) for name in distributions.get(module, [module])}
            by_rosdep = SYSTEM_KEYS.get(module, module) in keys
            if not (by_pip & pip_only.keys() or by_rosdep):
                undeclared.setdefault(module, []).append(str(path.relative_to(ROOT)))
            if module in SYSTEM_KEYS:
                assert by_pip & wheels.keys(), f'{module} is missing in requirements-wheels.txt'
    assert not undeclared, 'neither in package.xml nor in requirements.txt'


def test_only_nodes_and_ros_import_rclpy():
    allowed = ('nodes', 'ros')
    offenders = [path for path in SOURCES
                 if path.relative_to(ROOT / 'rlt_ros').parts[0] not in allowed
                 and any(name.split('.')[0] == 'rclpy' for name in imports(path))]
    assert not offenders


def test_nothing_imports_from_nodes():
    offenders = [path for path in SOURCES
                 if path.parent.name != 'nodes' and any(name.startswith('rlt_ros.nodes.') for name in imports(path))]
    assert not offenders


@pytest.mark.parametrize('folder', ['control', 'episode'])
def test_robot_side_loads_neither_torch_nor_rclpy(folder):
    """Also not through other modules of the package: all of them loaded, in a process of their own."""
    modules = [f'rlt_ros.{folder}.{path.stem}' for path in sorted((ROOT / 'rlt_ros' / folder).glob('*.py'))
               if path.stem != '__init__']
    code = (f'import importlib, sys; [importlib.import_module(name) for name in {modules!r}]; '
            'print(sorted({"torch", "rclpy"} & set(sys.modules)))')
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout == '[]\n'


@pytest.mark.fault('pickle', 'no source uses pickle')
def test_no_pickle():
    modules = {'pickle', 'dill', 'cloudpickle', 'joblib', 'shelve', 'marshal'}
    calls = re.compile(r'\btorch\.(load|save)\(|allow_pickle\s*=\s*True')
    offenders = [path for path in SOURCES
                 if modules & {name.split('.')[0] for name in imports(path)} or calls.search(path.read_text())]
    assert not offenders
