"""The simulated cell: what counts as plugged in, that it repeats, and that the scripted person manages."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rlt_ros import config
from rlt_ros.config import RobotProfile, Task, load
from rlt_ros.errors import UserError
from rlt_ros.sim.teleoperation import Teleoperation
from rlt_ros.sim.world import World, down

DT = 0.02
ETHERNET = load(Task, 'ethernet')


@pytest.fixture(params=['bimanual', 'single_arm'])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(load(RobotProfile, request.param), ETHERNET, 3)
    yield made
    made.close()


def put(world: World, across: tuple[float, float], depth: float) -> None:
    """The plug's tip `across` (m, in the socket's frame) and `depth` below the mouth, by hand."""
    c, s = np.cos(world.socket_yaw), np.sin(world.socket_yaw)
    offset = [c * across[0] - s * across[1], s * across[0] + c * across[1], world.task.tip - depth]
    world.place(world.socket_position + offset, world.socket_yaw)


def press(world: World, depth: float, going: int, ticks: int) -> None:
    """Command the hand `depth` m down within `going` ticks, and keep pressing until `ticks` are over."""
    arm, part, command = world.kinematics.arms[-1], world.kinematics.slices[-1], world.position.copy()
    position, rotation = arm.tool(command[part])
    for tick in range(ticks):
        command[part] = arm.solve(position - [0, 0, depth * min(tick / going, 1)], rotation, command[part])
        world.step(command, DT)


def test_plugged_in_is_deep_in_the_socket_and_nowhere_else(world: World) -> None:
    assert not world.success()
    for across, depth, success in (
        ((0, 0), 0.0105, True),
        ((0, 0), 0.0085, False),
        ((0, 0), -0.01, False),
        ((0.004, 0), 0.0105, False),
        ((0, -0.004), 0.0105, False),
    ):
        put(world, across, depth)
        np.testing.assert_allclose(world.tip_in_socket(), [*across, -depth], atol=1e-4)
        assert world.success() == success
    put(world, (0, 0), 0.0105)
    here = world.position.copy()
    for _ in range(25):
        world.step(here, DT)
    assert world.success() and world.penetration < 2e-4, 'it stays where it is'


def test_pressing_beside_the_hole_is_no_success(world: World) -> None:
    put(world, (0.005, 0.0), -0.002)
    press(world, 0.006, 40, 60)
    assert not world.success() and world.tip_in_socket()[2] > -0.003
    assert world.penetration < 5e-4


def test_a_seed_repeats_everything_and_every_reset_differs() -> None:
    robot = load(RobotProfile, 'single_arm')
    worlds = [World(robot, ETHERNET, seed) for seed in (1, 1, 2)]
    starts = []
    for world in worlds:
        world.reset()
        for tick in range(10):
            world.step(world.position + 0.001 * tick, DT)
        starts.append((world.socket_position, world.position.copy(), world.tip_in_socket()))
    assert all((a == b).all() for a, b in zip(starts[0], starts[1], strict=True))
    assert (starts[0][0] != starts[2][0]).any()
    before = worlds[0].socket_position
    worlds[0].reset()
    assert (worlds[0].socket_position != before).any()
    for world in (worlds[0], worlds[2]):
        world.random = np.random.default_rng(9)
        world.reset()
    np.testing.assert_array_equal(worlds[0].socket_position, worlds[2].socket_position)


def test_cameras_see_the_cell(world: World) -> None:
    images = world.images()
    size = world.profile.image_size
    assert images.shape == (len(world.profile.cameras), size, size, 3) and images.dtype == np.uint8
    assert all(image.std() > 5 for image in images)
    world.reset()
    assert (world.images() != images).any()
    assert world.render('audience', 64, 48).shape == (48, 64, 3)


@pytest.mark.parametrize('name', config.names(Task))
@pytest.mark.parametrize('seed', range(2))
def test_the_scripted_person_manages_every_task_slowly_and_gently(name: str, seed: int) -> None:
    world = World(load(RobotProfile, 'bimanual'), load(Task, name), seed)
    operator, ticks, last = Teleoperation(world, np.random.default_rng(seed)), 0, world.position.copy()
    joints = world.profile.joints
    while not world.success() and ticks < 30 * 50:
        command = operator.command()
        assert all(joint.lower <= value <= joint.upper for joint, value in zip(joints, command, strict=True))
        assert (np.abs(command - last) <= [joint.velocity * DT for joint in joints]).all()
        last, ticks = command, ticks + 1
        world.step(command, DT)
    assert world.success() and ticks > 75
    assert world.tip_in_socket()[2] < -world.task.inside
    assert world.penetration < 5e-4


@pytest.mark.parametrize('name', [name for name in config.names(Task) if load(Task, name).setting == 'critical'])
def test_pressing_half_a_socket_beside_does_no_task(name: str) -> None:
    """Contact is honest: nothing goes through walls, however long it is pushed."""
    world = World(load(RobotProfile, 'bimanual'), load(Task, name), 5)
    put(world, (0.0016, 0.0016), -0.004)
    press(world, 0.010, 60, 120)
    assert not world.success() and world.tip_in_socket()[2] > -0.002


def test_a_screw_sinks_with_its_turns_and_needs_seven() -> None:
    world = World(load(RobotProfile, 'bimanual'), load(Task, 'screw'), 1)
    screw, turns, heights = world.data.joint('screw'), (0.0, 3.5, 6.9, 7.1), []
    for turn in turns:
        screw.qpos[0] = -2 * np.pi * turn
        assert world.success() == (turn > 7)
        world.step(None, DT)
        heights.append(world.data.body('screw').xpos[2])
    np.testing.assert_allclose(np.diff(heights), -0.0005 * np.diff(turns), atol=2e-5)


def test_episodes_differ_in_friction_play_and_light() -> None:
    world = World(load(RobotProfile, 'single_arm'), ETHERNET, 0)
    seen = set()
    for _ in range(5):
        world.reset()
        geom = world.model.geom('held/plug')
        seen.add((geom.friction[0], geom.size[0], *world.model.vis.headlight.diffuse))
        low, high = world.task.friction
        assert low <= geom.friction[0] <= high
        assert 0 <= world.task.tip - geom.size[0] <= world.task.play / 2
    assert len(seen) == 5


OWN_TASK = """
from rlt_ros.sim.tasks.ethernet import Ethernet
from rlt_ros.sim.tasks.base import SimTask

class Own(Ethernet):
    success_depth = 0.002
"""


def test_a_task_of_ones_own_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / 'own.py'
    file.write_text(OWN_TASK)
    world = World(load(RobotProfile, 'single_arm'), load(Task, 'ethernet', scene=str(file)), 0)
    put(world, (0, 0), 0.003)
    assert world.success()
    file.write_text(OWN_TASK + 'class Another(Ethernet): pass')
    for scene_name, why in (
        (str(file), 'must define one subclass of SimTask, it defines 2'),
        ('plumbing', 'there are: charger, ethernet, screw, zip_tie, or the path'),
        (str(tmp_path / 'none.py'), 'does not exist'),
    ):
        with pytest.raises(UserError, match=why):
            World(load(RobotProfile, 'single_arm'), load(Task, 'ethernet', scene=scene_name), 0)


def grasp(world: World, across: float, opening: float, along: float = 0.0) -> None:
    """Put the open hand beside the middle of the part in the rack, then its fingers `opening` m apart.

    across: m along the hand's z; along: m along its y, in which the fingers close.
    """
    y, z = down(world.rack.yaw)[:, 1:].T
    for apart in (0.02, opening):
        world.place(world.rack.part + across * z + along * y, world.rack.yaw, apart)
        world.step(world.position.copy(), DT)


def test_the_part_is_seated_in_the_hand_where_it_was_grasped_and_lost_when_the_hand_opens() -> None:
    world = World(load(RobotProfile, 'bimanual'), load(Task, 'charger_full'), 4)
    assert not world.holding and not world.critical()
    for across, along, opening, holding in (
        (0.0, 0.0, 0.02, False), (0.007, 0.0, 0.006, False), (0.0, 0.011, 0.006, False), (0.002, 0.008, 0.006, True),
    ):  # fmt: skip
        grasp(world, across, opening, along)
        assert world.holding == holding, (across, along)
    assert 0.0001 < np.linalg.norm(world.in_hand) < 0.0003, 'the fingers seat it, nearly'
    command, grip = world.position.copy(), world.kinematics.grippers[-1]
    for _ in range(10):
        world.step(command, DT)
    rotation, tip = world.tool()[1], world.data.site('held/tip').xpos
    np.testing.assert_allclose(rotation.T @ (tip - world.tool()[0]), [world.task.tip, *world.in_hand[1:]], atol=3e-4)
    command[grip] = 0.02
    for _ in range(25):
        world.step(command, DT)
    assert not world.holding
    put(world, (0, 0), 0.0105)
    assert not world.success(), 'an empty hand plugs nothing in'
    world.reset()
    assert not world.holding and np.abs(world.in_hand).max() == 0


@pytest.mark.parametrize(('across', 'opening'), [(0.0, 0.006), (0.012, 0.002)])
def test_the_part_stops_the_fingers_and_an_empty_hand_closes_farther(across: float, opening: float) -> None:
    world = World(load(RobotProfile, 'bimanual'), load(Task, 'ethernet_full'), 4)
    grip = world.kinematics.grippers[-1]
    world.place(world.rack.part + [across, 0, 0], world.rack.yaw, 0.02)
    command = world.position.copy()

    def close() -> None:
        for _ in range(100):
            command[grip] = max(0.002, command[grip] - 0.0002)
            world.step(command, DT)

    close()
    assert world.holding == (across == 0.0)
    assert world.position[grip] == pytest.approx(opening, abs=3e-4)
    command[grip] = 0.02
    for _ in range(30):
        world.step(command, DT)
    assert not world.holding
    world.place(world.rack.part + [0.012, 0, 0], world.rack.yaw, 0.02)
    command = world.position.copy()
    close()
    assert world.position[grip] == pytest.approx(0.002, abs=3e-4), 'it is empty again'


def test_closed_fingers_that_pass_the_part_do_not_grasp_it() -> None:
    world = World(load(RobotProfile, 'bimanual'), load(Task, 'charger_full'), 4)
    grasp(world, 0.01, 0.006)
    world.place(world.rack.part, world.rack.yaw, 0.006)
    world.step(world.position.copy(), DT)
    assert not world.holding
    grasp(world, 0.0, 0.006)
    assert world.holding


def test_demonstrations_have_detours_and_still_fetch_the_part() -> None:
    """How far the hand goes off its straight way to the part without and with them; where the critical phase begins."""
    off: list[list[float]] = [[], []]
    for seed in range(6):
        for detours in (False, True):
            world = World(load(RobotProfile, 'bimanual'), load(Task, 'charger_full'), seed)
            person, start, way = Teleoperation(world, np.random.default_rng(seed), detours), world.tool()[0].copy(), []
            straight = (world.rack.part - start) / np.linalg.norm(world.rack.part - start)
            strayed, calm = False, 0
            while not person.critical and len(way) < 2000:
                position = world.tool()[0] - start
                way.append(0.0 if world.holding else np.linalg.norm(position - position @ straight * straight))
                command = person.command()
                strayed |= person.straying
                calm = calm + 1 if world.settled() and not person.straying else 0
                assert not world.holding or command[-1] >= 0.006, 'it squeezes no more than it is stopped'
                world.step(command, DT)
            assert person.critical and calm >= 5, 'at rest, and not where it turns round on a detour'
            assert strayed == detours
            off[detours].append(max(way))
    assert np.mean(off[True]) > np.mean(off[False]) + 0.002


def test_a_person_who_brings_the_part_askew_brings_it_again() -> None:
    world = World(load(RobotProfile, 'bimanual'), load(Task, 'ethernet_full'), 5)
    grasp(world, 0.0, 0.006)
    person, ticks = Teleoperation(world, np.random.default_rng(5)), 0
    person.person.goal_yaw = world.socket_yaw + 0.09
    while not person.critical and ticks < 1500:
        world.step(person.command(), DT)
        ticks += 1
    assert person.critical


@pytest.mark.parametrize(('across', 'holding'), [(0.015, False), (0.0, True)])
def test_a_person_takes_over_wherever_the_hand_is(across: float, holding: bool) -> None:
    """Below the part and beside it with closed fingers, or with the part in them: then it is carried on, as fast."""
    world = World(load(RobotProfile, 'bimanual'), load(Task, 'ethernet_full'), 5)
    for opening in (0.02, 0.006):
        world.place(world.rack.part + [across, 0, 0.0 if holding else -0.008], world.rack.yaw, opening)
        world.step(world.position.copy(), DT)
    assert world.holding == holding
    person, ticks = Teleoperation(world, np.random.default_rng(5)), 0
    while not world.settled() and ticks < 1000:
        world.step(person.command(), DT)
        ticks += 1
        assert world.holding or not holding, 'what is in the hand stays there'
    assert world.settled() and (ticks < 180 or not holding)


def test_the_critical_phase_begins_above_the_socket_and_a_person_begins_it_where_it_usually_starts_at_rest() -> None:
    world = World(load(RobotProfile, 'bimanual'), load(Task, 'ethernet_full'), 6)

    def above(across: float, up: float, turned: float = 0.0) -> tuple[bool, bool]:
        tip = [across, 0, world.task.start_height + world.task.tip + up]
        world.place(world.socket_position + tip, world.socket_yaw + turned, 0.006)
        world.step(world.position.copy(), DT)
        return world.critical(), world.settled()

    assert above(0, 0) == (False, False), 'the hand is empty'
    grasp(world, 0.0, 0.006)
    for place, expected in (
        ((0, 0), (True, True)), ((0, 0.01), (False, False)), ((0.02, 0), (False, False)),
        ((0, -0.01), (True, False)), ((0, 0, 0.1), (True, False)), ((0, 0, 0.2), (False, False)),
    ):  # fmt: skip
        assert above(*place) == expected, place
    above(0, 0)
    press(world, 0.01, 10, 6)
    assert world.tip_speed() > 0.015 and world.critical() and not world.settled(), 'in motion'
    press(world, 0.0, 1, 30)
    assert world.critical() and world.settled()
    press(world, 0.02, 8, 6)
    assert world.tip_speed() > 0.07 and not world.critical(), 'fast'
