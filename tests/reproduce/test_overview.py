from aetheory.reproduce.overview import overview


def test_one_line_for_each_main_number():
    deviations = {"train_deviation_relative": 0.0123, "population_deviation_relative": 0.004}
    run = {
        "network": "group",
        "signal_to_noise": 1.0,
        "squared_distance_at": {"0": 177.0, "20": 80.0, "100": 5.25},
        "found": 0.995,
    }
    score = {"scores": {"k-means": {"accuracy": {"mean": 0.805, "std": 0.01}}}}
    summaries = {
        "prism": {
            "panels": {"free": deviations},
            "resummation": {"deviations": {"conformal-pade": {"last_time": 0.0102}}},
            "seconds": 10.0,
        },
        "limits": {
            "panels": {
                "isotropic": {"alternating_mean_excess": [0.0002, None, 0.0009]},
                "sparse": {"denoised_excess": [[-0.003, None], [0.001, 0.002]]},
            },
            "seconds": 20.5,
        },
        "recovery": {
            "runs": [run, {**run, "signal_to_noise": None}],
            "clusters": {"digits": {"group": score}, "mnist": {"skipped": "not here"}},
            "seconds": 30.0,
        },
    }
    text = overview(summaries)
    for found in (
        "train 1.23%, population 0.40%",
        "1.02%",
        "0.0009",
        "0.0030",
        "177.0 -> 5.25; 99.5%",
        "no noise",
        "80.5%",
        "All in 60 s.",
    ):
        assert found in text
    assert len(text.splitlines()) == 9
