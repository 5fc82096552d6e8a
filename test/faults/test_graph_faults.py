"""One running graph, and one fault after the other: what the robot does, from the executed steps.

Nobody supervises the nodes, so that what each does by itself is seen.
"""

from collections.abc import Iterator
import resource
import signal
import time

from node_bench import NodeBench
import numpy as np
import pytest
from sensor_msgs.msg import Image, Joy
from whole_graph import ANSWERED, DEADMAN, DT, HOLD, HUMAN, METHOD, PROFILE, VLA, Graph, stamp

from rlt_ros.bench.soak_checks import LimitChecker, Logged
from rlt_ros.graph import ENVIRONMENT
from rlt_ros.msg import VlaOutput
from rlt_ros.ros.node import fill_array
from rlt_ros.ros.qos import RELIABLE


@pytest.fixture(scope='module')
def whole(tmp_path_factory: pytest.TempPathFactory, module_domain: int) -> Iterator[Graph]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        bench = NodeBench(tmp_path_factory.mktemp('graph'), module_domain)
        try:
            yield Graph(bench)
        finally:
            bench.close()


@pytest.fixture
def graph(whole: Graph) -> Iterator[Graph]:
    """With an episode under way; whatever comes of the fault, no command is beyond a limit."""
    whole.begin()
    yield whole
    whole.change = lambda image: image
    whole.end()
    limits = LimitChecker(PROFILE)
    for step in whole.steps:
        logged = Logged(step.episode, step.phase, step.source, step.policy_version, np.array(step.command))
        limits.add(step.tick, logged)
    assert limits.steps > 20 and limits.wrong.examples == []


@pytest.mark.fault('camera-stops', "the rest of the VLA's reference, then a hold; goes on when it is back")
def test_a_camera_that_stops_holds_the_robot(graph: Graph, time_to_hold) -> None:
    graph.change = lambda image: None
    held = graph.runs_out(time_to_hold)
    graph.bench.until(lambda: any('base' in s.message for s in graph.told('camera_node: observation')))
    assert graph.stands([s for s in graph.steps if s.tick > held.tick + 10])
    back = time.time()
    graph.change = lambda image: image
    assert graph.driven(back).episode == held.episode


@pytest.mark.fault('camera-frozen', 'as a camera that stops, once a tool has moved in its view while it repeats itself')
def test_a_frozen_camera_holds_the_robot(graph: Graph, time_to_hold) -> None:
    frozen: list[Image] = []  # the last one that was seen, and those that repeat it

    def change(image: Image) -> Image:
        frozen.append(image)
        image.data = frozen[0].data
        return image

    graph.change = change
    told = lambda: [s.message for s in graph.told('camera_node: observation')]  # noqa: E731
    graph.bench.until(lambda: any(message.startswith('base: frozen: same picture for') for message in told()))
    graph.bench.until(lambda: {s.source for s in graph.steps[-25:]} == {HOLD})
    driven = max(s.tick for s in graph.steps if s.source == VLA)
    held = next(s for s in graph.steps if s.tick > driven)
    time_to_hold(stamp(held) - stamp(frozen[0]))
    assert stamp(held) - max(stamp(s) for s in graph.states) <= ANSWERED + 2 * DT
    assert graph.stands([s for s in graph.steps if s.tick > held.tick + 10])
    back = time.time()
    graph.change = lambda image: image
    assert graph.driven(back).episode == held.episode


@pytest.mark.fault('camera-garbage', 'garbage beside good frames is refused and counted, the robot goes on')
@pytest.mark.fault('stamps', 'frames without a stamp or from the future, beside good ones: the robot goes on')
def test_garbage_beside_good_frames_does_not_disturb(graph: Graph) -> None:
    def change(image: Image) -> Image:
        for broken in ({'height': 4_000_000_000}, {'data': b'Traceback'}, {'encoding': 'nonsense'}, {'step': 1}):
            fields = {name: getattr(image, name) for name in ('header', 'height', 'width', 'step', 'encoding')}
            graph.relayed.publish(Image(**fields | {'data': bytes(image.data)} | broken))
        unstamped = Image(height=96, width=96, step=288, encoding='rgb8', data=bytes(image.data))
        graph.relayed.publish(unstamped)
        return image

    graph.change = change
    graph.bench.until(lambda: any('refused' in s.message for s in graph.told('camera_node: base')))
    graph.goes_on(time.time())


@pytest.mark.fault('camera-garbage', 'nothing but garbage is as no camera')
def test_nothing_but_garbage_holds_the_robot(graph: Graph, time_to_hold) -> None:
    def change(image: Image) -> Image:
        image.data = bytes(image.data)[:100]
        return image

    graph.change = change
    held = graph.held(time.time())
    time_to_hold(stamp(held) - max(stamp(s) for s in graph.states))
    graph.change = lambda image: image
    graph.driven(stamp(held))


@pytest.mark.fault('vla-garbage', 'refused and said, never executed; the robot goes on with good ones')
def test_garbage_in_place_of_vla_outputs_is_never_executed(graph: Graph) -> None:
    publisher = graph.bench.node.create_publisher(VlaOutput, 'vla_output', RELIABLE(10))
    vla_outputs = graph.bench.listen(VlaOutput, 'vla_output', RELIABLE(10))
    good = graph.bench.until(lambda: vla_outputs and vla_outputs[-1])
    begin = time.time()

    def broken(**changes: object) -> VlaOutput:
        names = good.get_fields_and_field_types()
        return VlaOutput(**{name: getattr(good, name) for name in names} | {'sequence': 10**6} | changes)

    nan = broken()
    fill_array(nan, 'reference', np.full(len(good.reference), np.nan))
    not_finite = broken()
    fill_array(not_finite, 'prefix', np.full(len(good.prefix) // 2, np.nan, np.float16))
    text = broken(prefix=b'Traceback (most recent call last):')
    large = broken(num_tokens=4_000_000_000, token_dim=4_000_000_000)
    short = broken(reference=good.reference[:7], horizon=0)
    other = broken(vla_hash='0' * 64)
    for message in (nan, not_finite, text, large, short, other):
        publisher.publish(message)
        graph.bench.spin(0.1)
    graph.bench.spin(0.5)
    graph.bench.node.destroy_publisher(publisher)
    log = graph.bench.log('rl_token_node')
    assert 'VLA output dropped' in log and 'is not the one this encoder was trained on' in log
    assert 'state dropped' in graph.bench.log('executor_node')
    assert {s.source for s in graph.steps if stamp(s) > begin} <= {VLA, HOLD}
    graph.goes_on(time.time())
    assert all(np.isfinite(s.command).all() and s.chunk < 10**6 for s in graph.steps)


@pytest.mark.fault('vla-hangs', 'the rest of its reference, then a hold; afterwards no chunk that is over is played')
@pytest.mark.fault('underrun', 'the robot stands still, told as waiting for a chunk')
def test_a_vla_that_hangs_holds_the_robot(graph: Graph, time_to_hold) -> None:
    vla = graph.nodes['vla_node']
    vla.send_signal(signal.SIGSTOP)
    try:
        held = graph.runs_out(time_to_hold)
        graph.keeps_holding(held, 0.5)
        assert graph.statuses[-1].reason == 'HOLD: waiting for a chunk'
        graph.chunks.clear()
    finally:
        vla.send_signal(signal.SIGCONT)
    resumed = graph.driven(stamp(held))
    chunk = next(c for c in graph.chunks if c.first_tick <= resumed.tick)
    assert stamp(resumed) - stamp(chunk) < (METHOD.delay + METHOD.chunk) * DT, 'an old chunk is not played'


@pytest.mark.fault('vla-slow', 'chunks that are over are dropped and counted, and the robot holds')
def test_a_vla_that_answers_seconds_late_does_not_drive(graph: Graph, time_to_hold) -> None:
    vla, begin = graph.nodes['vla_node'], time.time()
    late = graph.statuses[-1].chunks_late
    try:
        for _ in range(2):  # two answers
            vla.send_signal(signal.SIGSTOP)
            graph.bench.spin(1.5)
            vla.send_signal(signal.SIGCONT)
            answers = len(graph.states)
            graph.bench.until(lambda answers=answers: len(graph.states) > answers)
    finally:
        vla.send_signal(signal.SIGCONT)
    held = graph.held(begin)
    time_to_hold(stamp(held) - max(stamp(s) for s in graph.states if stamp(s) < begin))
    graph.bench.until(lambda: graph.statuses[-1].chunks_late > late)
    graph.driven(time.time())


@pytest.mark.fault('joy-unplugged', 'stands within 0.1 s and stays; goes on when it is heard again')
def test_a_controller_unplugged_with_the_deadman_held(graph: Graph, time_to_hold) -> None:
    sent: list[float] = []

    def hold_on() -> None:
        message = Joy(axes=[0.0, 1.0, 0.0, 0.0, 0.0, 0.0], buttons=[int(i == DEADMAN) for i in range(21)])
        sent.append(time.time())
        graph.joy.publish(message)

    timer = graph.bench.node.create_timer(0.02, hold_on)
    graph.driven(time.time(), HUMAN)
    moves = lambda: not graph.stands([s for s in graph.steps if s.source == HUMAN][-3:])  # noqa: E731
    graph.bench.until(lambda: sum(s.source == HUMAN for s in graph.steps) > 25 and moves())
    graph.bench.node.destroy_timer(timer)
    held = graph.held(sent[-1])
    time_to_hold(stamp(held) - sent[-1])
    assert stamp(held) - sent[-1] < 0.1 + DT
    graph.goes_silent(held)
    graph.joy.publish(Joy(axes=[0.0] * 6, buttons=[0] * 21))
    graph.driven(stamp(held))


@pytest.mark.fault('joy-unplugged', 'so it does when teleop_node ends (SIGKILL) in the middle of a takeover')
def test_a_teleop_node_that_dies_during_a_takeover(graph: Graph, time_to_hold) -> None:
    def hold_on() -> None:
        graph.joy.publish(Joy(axes=[0.0] * 6, buttons=[int(i == DEADMAN) for i in range(21)]))

    timer = graph.bench.node.create_timer(0.02, hold_on)
    graph.driven(time.time(), HUMAN)
    killed = time.time()
    graph.kill('teleop_node')
    held = graph.held(killed)
    time_to_hold(stamp(held) - killed)
    graph.bench.node.destroy_timer(timer)
    graph.goes_silent(held)
    graph.start('teleop_node')  # that it is there again is no word of the person
    graph.bench.until(lambda: graph.joy.get_subscription_count())
    graph.bench.spin(0.5)
    assert graph.steps[-1].source == HOLD
    graph.press('executor/rearm')
    graph.driven(stamp(held))


@pytest.mark.fault('overrun', 'missed ticks are counted, never caught up; the driver stops, the episode is aborted')
def test_a_control_loop_that_stood_still_does_not_catch_up(graph: Graph) -> None:
    executor, missed = graph.nodes['executor_node'], graph.statuses[-1].missed_ticks
    executor.send_signal(signal.SIGSTOP)
    stands = time.time() + 0.75
    graph.bench.until(lambda: stamp(graph.joints[-1]) > stands + 0.05)  # on a busy machine they are heard late
    stopped = [s for s in graph.joints if stamp(s) > stands]
    graph.bench.until(lambda: graph.phase() == 'reset')
    executor.send_signal(signal.SIGCONT)
    graph.bench.until(lambda: graph.statuses[-1].missed_ticks >= missed + 10)
    assert np.abs([s.velocity for s in stopped]).max() < 0.05, 'the driver stands'
    assert [e.outcome for e in graph.episodes if e.phase == 'ended'][-1] == 'abort', 'nobody knows what it did'
    ticks = [s.tick for s in graph.steps]
    assert ticks == sorted(set(ticks)) and max(np.diff(ticks)) >= 10
    assert all(s.deadline_error < DT for s in graph.steps), 'every tick is due when it is executed'


@pytest.mark.fault('learner-dies', 'the robot goes on as if nothing had happened')
@pytest.mark.fault('monitor-dies', 'the robot goes on as if nothing had happened')
def test_learner_and_monitor_die_and_the_robot_goes_on(graph: Graph) -> None:
    begin = time.time()
    for name in ('learner_node', 'monitor_node'):
        graph.kill(name)
    graph.goes_on(begin)
    for name in ('learner_node', 'monitor_node'):
        graph.start(name)


@pytest.mark.fault('disk-full', 'the monitor tells it and goes on; the robot does not notice')
def test_a_full_disk_is_told_by_the_monitor(graph: Graph) -> None:
    status = graph.run / 'status.json'
    graph.bench.until(lambda: graph.told('monitor_node'))
    begin = time.time()
    resource.prlimit(graph.nodes['monitor_node'].pid, resource.RLIMIT_FSIZE, (100, 100))
    graph.bench.until(lambda: any('cannot be written' in s.message for s in graph.told('monitor_node')))
    assert status.stat().st_size > 100, 'the last whole one is left'
    assert graph.nodes['monitor_node'].poll() is None
    graph.goes_on(begin)
    graph.kill('monitor_node')


@pytest.mark.fault('vla-dies', 'the rest of its reference, then a hold that stays')
def test_a_vla_that_dies_holds_the_robot(graph: Graph, time_to_hold) -> None:
    """The last one: nobody starts it again."""
    graph.kill('vla_node')
    held = graph.runs_out(time_to_hold)
    graph.keeps_holding(held, 1.0)
