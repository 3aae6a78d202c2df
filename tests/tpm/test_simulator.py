from waiting import assert_nothing_left


def test_runs_answers_and_stops(simulator):
    connection = simulator.ensure()
    assert connection.simulated
    assert simulator.status().running
    assert simulator.stop()
    assert not simulator.stop()
    assert_nothing_left(simulator.folder)
