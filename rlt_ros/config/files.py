"""Configuration files: read, checked, and what is wrong with one in a line for each key."""

import hashlib
import json
from pathlib import Path
from typing import TypeVar, get_args

from pydantic import BaseModel, ValidationError
import yaml

from rlt_ros.config.strict import Strict
from rlt_ros.errors import UserError
from rlt_ros.paths import share

Model = TypeVar('Model', bound=Strict)


def names(model: type[Strict]) -> list[str]:
    """Names the package ships for a kind of configuration."""
    return sorted(path.stem for path in (share() / 'config' / model.folder).glob('*.yaml'))


def load(model: type[Model], name: str, **overrides: object) -> Model:
    """Read a configuration by name or path, with values replaced by `overrides`.

    Raises UserError that names the file, key, value and what is allowed.
    """
    is_path = '/' in name or name.endswith(('.yaml', '.yml'))
    path = Path(name) if is_path else share() / 'config' / model.folder / f'{name}.yaml'
    if not path.is_file():
        raise UserError(
            f'{model.kind} "{name}" does not exist; there are: {", ".join(names(model))}, or the path of a YAML file'
        )
    try:
        data = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UserError(f'{path} is no readable YAML: {" ".join(str(error).split())}') from None
    if not isinstance(data, dict):
        raise UserError(f'{path} must hold keys and values of a {model.kind}')
    return validate(model, {**data, **overrides}, str(path))


def validate(model: type[Model], data: dict, where: str) -> Model:
    """Build a model; raises UserError with one line per wrong key."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise UserError(describe(error, model, where)) from None


def describe(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """What is wrong with a configuration, in one line per key, with the value and what is allowed."""
    lines = []
    for item in error.errors():
        key = '.'.join(str(part) for part in item['loc'])
        if item['type'] == 'extra_forbidden':
            allowed = ', '.join(_model_at(model, item['loc'][:-1]).model_fields)
            lines.append(f'{where}: unknown key "{key}"; allowed: {allowed}')
        elif item['type'] == 'missing':
            lines.append(f'{where}: key "{key}" is missing')
        elif isinstance(item['input'], dict):  # of a rule about several keys, which says their values itself
            lines.append(f'{where}: {key or "content"} is not allowed: {item["msg"]}')
        else:
            value = repr(item['input'])
            value = value if len(value) <= 100 else f'{value[:97]}...'
            lines.append(f'{where}: {key or "content"} = {value} is not allowed: {item["msg"]}')
    return '\n'.join(lines)


def _model_at(model: type[BaseModel], location: tuple[str | int, ...]) -> type[BaseModel]:
    """The model of a nested part: keys and list indices from `model` on."""
    for key in location:
        if isinstance(key, str):
            annotation = model.model_fields[key].annotation
            model = (get_args(annotation) or (annotation,))[0]
    return model


def config_hash(*models: Strict) -> str:
    """SHA-256 over the content of configurations, independent of file names and key order."""
    return hashlib.sha256(json.dumps([m.model_dump() for m in models], sort_keys=True).encode()).hexdigest()
