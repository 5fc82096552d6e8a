"""pip build: runs the CMakeLists.txt that colcon runs, on the ROS 2 wheels from PyPI."""

import importlib.util
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
import sysconfig

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent
NAME = 'rlt_ros'


def version() -> str:
    """The version of package.xml, the one place that has it for both builds."""
    return re.search(r'<version>(.+)</version>', (HERE / 'package.xml').read_text()).group(1)


def requirements(file: str) -> list[str]:
    """Lines of a requirements file, comments left out."""
    lines = (line.split('#')[0].strip() for line in (HERE / file).read_text().splitlines())
    return [line for line in lines if line]


def ros_prefix() -> Path:
    """Where the ROS wheels are: the venv, or pip's isolated build environment, which sys.prefix does not name."""
    spec = importlib.util.find_spec('rosidl_cmake')
    if spec is None:
        raise SystemExit('the ROS 2 wheels of requirements-dev.txt are not installed')
    return Path(spec.origin).resolve().parents[4]


class BuildInterfaces(build_ext):
    """Builds with CMake into a staging folder and hands the files to setuptools."""

    def run(self) -> None:
        prefix = ros_prefix()
        site = Path(sysconfig.get_path('platlib')).relative_to(sysconfig.get_path('data'))
        build = Path(self.build_temp).resolve()
        stage = build / 'stage'
        # A CMake cache names the tools of pip's build environment, which is another one every time.
        shutil.rmtree(build, ignore_errors=True)
        environment = {key: value for key, value in os.environ.items() if key != 'CMAKE_GENERATOR'}
        environment |= {'AMENT_PREFIX_PATH': str(prefix), 'CMAKE_PREFIX_PATH': str(prefix)}
        configure = [
            'cmake', '-G', 'Ninja', '-S', str(HERE), '-B', str(build / 'cmake'),
            f'-DCMAKE_INSTALL_PREFIX={stage}', '-DCMAKE_BUILD_TYPE=Release', '-DBUILD_TESTING=OFF',
            f'-DPython3_EXECUTABLE={sys.executable}', f'-DPYTHON_INSTALL_DIR={site}',
        ]
        subprocess.run(configure, check=True, env=environment)
        subprocess.run(['cmake', '--build', str(build / 'cmake'), '--target', 'install'], check=True, env=environment)

        for folder in [*stage.rglob('*.egg-info'), *stage.rglob('__pycache__')]:
            shutil.rmtree(folder)
        package = build / 'package'
        (stage / site / NAME).rename(package)
        for source in (HERE / NAME).rglob('*.py'):      # setuptools has these already
            (package / source.relative_to(HERE / NAME)).unlink(missing_ok=True)
        if self.editable_mode:
            # Beside the linked sources, which take it in by extend_path().
            self.add_data(package, site / NAME)
        else:
            shutil.copytree(package, Path(self.build_lib) / NAME, dirs_exist_ok=True)
        for top in ('lib', 'share', 'include'):
            self.add_data(stage / top, Path(top))
        if self.editable_mode:      # setuptools leaves data files out of editable installs
            self.reinitialize_command('install_data')
            self.run_command('install_data')

    def add_data(self, source: Path, target: Path) -> None:
        """Install the files below `source` at `target`, relative to the environment's prefix."""
        data = self.distribution.data_files = self.distribution.data_files or []
        for folder in [source, *(path for path in source.rglob('*') if path.is_dir())]:
            files = [str(path) for path in folder.iterdir() if path.is_file()]
            if files:
                data.append((str(target / folder.relative_to(source)), files))

    def get_outputs(self) -> list[str]:
        return []       # all of it is data, not extension modules

    def get_output_mapping(self) -> dict[str, str]:
        return {}


setup(
    name=NAME,
    version=version(),
    description='Real-time ROS 2 robot stack for RL Token',
    license='Apache-2.0',
    python_requires='>=3.11',       # StrEnum, and the pinned libraries
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    package_dir={'': '.'},      # makes an editable install a plain .pth file, which extend_path() can follow
    ext_modules=[Extension(f'{NAME}.msg', [])],
    cmdclass={'build_ext': BuildInterfaces},
    install_requires=[*requirements('requirements.txt'), *requirements('requirements-wheels.txt')],
    entry_points={'console_scripts': [f'rlt = {NAME}.cli:main']},
    zip_safe=False,
)
