"""What is told of a source."""

from rlt_ros.camera.health import Health


def test_rate_age_silence_and_refusals():
    health = Health()
    assert health.report(0.0)[0] == 'nothing received'
    for i in range(25):
        health.received(0.04 * (i + 1))
    problem, values = health.report(1.0)
    assert (problem, values['rate_hz'], values['age_s']) == ('', '25.0', '0.000')
    assert health.drop('no stamp') and not health.drop('no stamp')
    health.received(1.5)
    problem, values = health.report(2.0)
    assert problem == '2 refused: no stamp' and values['dropped: no stamp'] == '2'
    problem, values = health.report(4.0)
    assert problem == 'silent for 2.5 s' and values['rate_hz'] == '0.0'


def test_nothing_but_refusals_and_endless_reasons():
    health = Health()
    assert sum(health.drop(f'{i} bytes') for i in range(1000)) <= 21
    assert health.report(1.0)[0] == 'nothing received, refused: 999 bytes'
    assert sum(int(count) for key, count in health.report(2.0)[1].items() if key.startswith('dropped')) == 1000
