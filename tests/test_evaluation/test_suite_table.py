"""The table of suites: the paper's order and figures, ours in percent."""

from lira_plugin.evaluation.suite_table import SuiteResult, as_markdown, as_text, suite_table


def result(source, rule, **figures):
    return SuiteResult("a", source, rule, {f"{source}/{name}": value for name, value in figures.items()}, 1.0, {})


def test_the_papers_order_first_and_a_dash_for_what_there_is_not():
    lines = suite_table(
        [
            result("scenes/gqa", "gqa", accuracy=0.51, chance=0.355, questions=200),
            result("mmbench_cn/dev", "mmbench", accuracy=0.9, circular_accuracy=0.7171),
            result("pope", "pope", accuracy=0.5, mean_F1=0.8912, questions=9000),
            result("seed/image", "seed", questions=3),
        ]
    )
    assert lines[1:] == [
        ["POPE", "mean_F1", "89.1", "-", "9,000", "89.1", "88.1", "87.3"],
        ["MMBench-cn", "circular_accuracy", "71.7", "-", "-", "71.7", "80.5", "74.2"],
        ["scenes/gqa", "accuracy", "51.0", "35.5", "200", "-", "-", "-"],
        ["seed/image", "accuracy", "-", "-", "3", "-", "-", "-"],
    ]
    assert as_markdown(lines).splitlines()[2] == "| POPE | mean_F1 | 89.1 | - | 9,000 | 89.1 | 88.1 | 87.3 |"
    assert len({line.index("9,000") for line in as_text(lines).splitlines() if "9,000" in line}) == 1
