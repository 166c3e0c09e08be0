"""`odp bench rd`: the table, going on after an interruption, curves, and what is written."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onedpiece.bench import Protocol
from onedpiece.bench.curves import Point, bd_rate, curves, write_compressai
from onedpiece.bench.metrics import PSNR, Metric, available
from onedpiece.bench.protocol import central
from onedpiece.bench.rate_distortion import Run, measure
from onedpiece.bench.report import write_report
from onedpiece.bench.table import Row, Table
from onedpiece.errors import OdpError


def rows_of(folder):
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def pictures(make_picture, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    make_picture(300, 256, seed=1).save(folder / "a.png")
    make_picture(256, 320, seed=2).save(folder / "b.png")
    return folder


def without_progress(total):
    return nullcontext(lambda count: None)


def a_run(pictures, out, codecs, tokens):
    named = {path.name: path for path in sorted(pictures.iterdir())}
    return Run(named, codecs, tokens, (), Protocol.paper, out, "default", "cpu", None)


@pytest.fixture(scope="module")
def finished(pictures, tmp_path_factory):
    """The folder of a whole run over both pictures, with two small sizes."""
    pytest.importorskip("matplotlib", reason="needs the bench extra")
    out = tmp_path_factory.mktemp("report")
    run = a_run(pictures, out, ("odp", "webp", "jpeg"), (16, 64))
    table, missing = measure(run, 1, without_progress)
    write_report(run, table.rows, available()[0], missing)
    return out


@pytest.fixture
def bench(odp, pictures, tmp_path, monkeypatch):
    """`odp bench rd` over both pictures, for short: PSNR only, in this process."""
    from onedpiece.bench import metrics, rate_distortion

    monkeypatch.setattr(metrics, "available", lambda lpips=None: ([PSNR], []))
    monkeypatch.setattr(rate_distortion, "_metrics", lambda lpips: [PSNR])
    monkeypatch.setattr(os, "cpu_count", lambda: 1)

    def run(*options, codecs="odp", sizes=("--tokens", "16")):
        out = tmp_path / "out"
        return odp("bench", "rd", pictures, "--out", out, "--codecs", codecs, *sizes, *options)

    return run


class TestTable:
    row = Row("a.png", "webp", "64 tokens", 104, 100, 256, 256, "32x32 m6 q5", {"psnr": 20.5})

    def test_rows_come_back(self, tmp_path):
        none = Row("a.png", "jpeg", "64 tokens", 104, None, 256, 256)
        Table(tmp_path / "t.csv", ["psnr"]).add([self.row, none])
        assert Table(tmp_path / "t.csv", ["psnr"]).rows == [self.row, none]

    def test_a_line_that_an_interruption_cut_is_forgotten(self, tmp_path):
        path = tmp_path / "t.csv"
        Table(path, ["psnr"]).add([self.row])
        path.write_text(path.read_text() + "a.png,avif,64 tokens,104,9")
        again = Table(path, ["psnr"])
        again.add([self.row])  # there already
        assert again.rows == [self.row]
        assert len(path.read_text().splitlines()) == 2

    def test_other_columns_are_refused(self, tmp_path):
        Table(tmp_path / "t.csv", ["psnr"])
        with pytest.raises(OdpError, match="other columns"):
            Table(tmp_path / "t.csv", ["psnr", "ssim"])

    def test_what_is_no_table_is_refused(self, tmp_path):
        path = tmp_path / "t.csv"
        Table(path, ["psnr"])
        path.write_text(path.read_text() + "nonsense\n")
        with pytest.raises(OdpError, match="line 2 is no result"):
            Table(path, ["psnr"])


class TestRun:
    def test_every_codec_has_a_row_for_every_picture_and_size(self, finished):
        rows = rows_of(finished)
        names = {row["codec"] for row in rows} - {"thumbhash"}
        assert names == {"odp", "webp", "webp-native", "jpeg", "jpeg-native"}
        assert len([row for row in rows if row["codec"] != "thumbhash"]) == 2 * 2 * len(names)
        sizes = {(r["picture"], r["setting"]): int(r["bytes"]) for r in rows if r["codec"] == "odp"}
        for row in rows:
            if row["bytes"] and row["codec"] != "thumbhash":
                assert int(row["bytes"]) <= sizes[row["picture"], row["setting"]]

    def test_files_are_kept_and_are_as_large_as_the_table_says(self, finished):
        for row in rows_of(finished):
            files = list((finished / "files" / row["codec"]).rglob(row["picture"] + ".*"))
            sizes = [file.stat().st_size for file in files]
            assert int(row["bytes"]) in sizes if row["bytes"] else True

    def test_several_processes_make_the_same_rows(self, pictures, finished, tmp_path):
        run = a_run(pictures, tmp_path, ("odp",), (16,))
        measure(run, 2, without_progress)
        wanted = [r for r in rows_of(finished) if r["codec"] in {"odp", "thumbhash"}]
        wanted = [row for row in wanted if row["setting"] in {"16 tokens", "fixed"}]
        assert sorted(rows_of(tmp_path), key=str) == sorted(wanted, key=str)

    def test_a_second_run_goes_on_where_the_first_was_stopped(self, bench, tmp_path, monkeypatch):
        bench()
        table = tmp_path / "out/results.csv"
        lines = table.read_text().splitlines(keepends=True)
        table.write_text("".join(line for line in lines if not line.startswith("b.png,odp")))
        from onedpiece.bench import rate_distortion

        done = []
        original = rate_distortion._do
        monkeypatch.setattr(rate_distortion, "_do", lambda t: done.append(t) or original(t))
        assert bench().code == 0
        assert [(task.picture, task.codec) for task in done] == [("b.png", "odp")]
        assert sorted(table.read_text().splitlines(keepends=True)) == sorted(lines)

    def test_another_protocol_needs_another_folder(self, bench, tmp_path):
        bench()
        result = bench("--protocol", "native")
        assert result.code == 1
        assert "another protocol" in result.stderr

    def test_native_measures_whole_pictures(self, bench, tmp_path):
        bench("--protocol", "native")
        assert ("300", "256") in {(r["width"], r["height"]) for r in rows_of(tmp_path / "out")}

    def test_a_size_in_bytes_is_a_limit_for_all(self, bench, tmp_path):
        bench(codecs="odp,webp", sizes=("--bytes", "20,100"))
        rows = [row for row in rows_of(tmp_path / "out") if row["setting"] == "100 bytes"]
        assert all(not row["bytes"] or int(row["bytes"]) <= 100 for row in rows)
        assert {row["codec"] for row in rows if row["bytes"]} >= {"odp", "webp"}

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--codecs", "odp,gif"), "'gif' is none of"),
            (("--tokens", "0"), "from 1 to 256"),
            (("--bytes", "ten"), "no numbers"),
        ],
    )
    def test_wrong_usage(self, odp, pictures, tmp_path, options, message):
        result = odp("bench", "rd", pictures, "--out", tmp_path / "out", *options)
        assert result.code == 2
        assert message in " ".join(result.stderr.split())

    def test_codecs_that_are_not_installed_are_named_and_left_out(self, bench, monkeypatch):
        from onedpiece.bench import codecs

        def missing():
            raise ImportError("it is not installed")

        missing.__name__ = "_webp"
        monkeypatch.setattr(codecs, "_webp", missing)
        result = bench(codecs="odp,webp")
        assert result.code == 0
        assert b"missing: webp: it is not installed" in result.stdout

    def test_rfid_takes_a_network(self, bench, tmp_path):
        onnx = pytest.importorskip("onnx", reason="needs the torch extra")
        from onnx import TensorProto, helper

        node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)
        shapes = {"x": [1, 3, "h", "w"], "y": [1, 3]}
        x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items())
        opset = [helper.make_opsetid("", 13)]
        model = helper.make_model(
            helper.make_graph([node], "mean", [x], [y]), opset_imports=opset, ir_version=8
        )
        onnx.save(model, tmp_path / "mean.onnx")
        result = bench("--features", tmp_path / "mean.onnx")
        assert result.code == 0, result.stderr
        found = json.loads((tmp_path / "out/json/odp.json").read_text())["results"]["rfid"]
        assert len(found) == 1 and found[0] >= 0


class TestProtocol:
    def test_the_paper_s_square_is_the_middle_of_a_short_edge_of_256(self):
        pixels = np.zeros((512, 1024, 3), np.uint8)
        pixels[:, 256:768] = 200
        assert central(pixels).shape == (256, 256, 3)
        assert (central(pixels)[:, 4:-4] == 200).all()

    def test_a_square_of_256_is_taken_as_it_is(self, make_picture):
        pixels = np.asarray(make_picture())
        assert (central(pixels) == pixels).all()


def points(rates, scores, **options):
    return [
        Point("", 0, rate, {"psnr": score}, options.get("pictures", 5), 5)
        for rate, score in zip(rates, scores, strict=True)
    ]


class TestCurves:
    RATES = (0.1, 0.2, 0.4, 0.8)

    def test_half_the_rate_everywhere_is_minus_50_percent(self):
        anchor = points(self.RATES, (30, 33, 36, 39))
        half = points([rate / 2 for rate in self.RATES], (30, 33, 36, 39))
        delta = bd_rate(anchor, half, PSNR)
        assert delta.percent == pytest.approx(-50)
        assert delta.overlap == pytest.approx(1)

    def test_only_what_both_curves_reach_is_compared(self):
        anchor = points(self.RATES, (30, 33, 36, 39))
        delta = bd_rate(anchor, points(self.RATES, (33, 36, 39, 42)), PSNR)
        assert delta.percent == pytest.approx(-50)
        assert delta.overlap == pytest.approx(0.5)

    def test_curves_that_do_not_overlap_have_none(self):
        anchor = points(self.RATES, (30, 33, 36, 39))
        assert bd_rate(anchor, points(self.RATES, (40, 41, 42, 43)), PSNR) is None
        assert bd_rate(anchor, points((0.1,), (35,)), PSNR) is None

    def test_of_a_distance_less_is_better(self):
        distance = Metric("psnr", "", PSNR.score, higher=False)
        anchor = points(self.RATES, (0.8, 0.6, 0.4, 0.2))
        half = points([rate / 2 for rate in self.RATES], (0.8, 0.6, 0.4, 0.2))
        assert bd_rate(anchor, half, distance).percent == pytest.approx(-50)

    def test_points_that_gain_nothing_or_lack_pictures_do_not_count(self):
        anchor = points(self.RATES, (30, 33, 36, 39))
        odd = [*anchor, *points((1.0,), (38,)), *points((1.2,), (50,), pictures=4)]
        assert bd_rate(anchor, odd, PSNR).percent == pytest.approx(0)

    def test_means_are_over_pictures_that_have_a_file(self):
        rows = [
            Row("a", "webp", "9 bytes", 9, 8, 16, 4, "", {"psnr": 20.0}),
            Row("b", "webp", "9 bytes", 9, 6, 16, 4, "", {"psnr": 22.0}),
            Row("c", "webp", "9 bytes", 9, None, 16, 4),
            Row("c", "jpeg", "9 bytes", 9, None, 16, 4),
        ]
        found = curves(rows)
        assert found == {"webp": [Point("9 bytes", 7, 0.875, {"psnr": 21}, 2, 3)]}
        assert not found["webp"][0].complete

    def test_json_is_in_the_schema_of_compressai(self, tmp_path):
        found = {"odp": points(self.RATES, (30, 33, 36, 39))}
        write_compressai(found, tmp_path, "a test")
        data = json.loads((tmp_path / "odp.json").read_text())
        assert set(data) == {"name", "description", "results"}
        assert data["results"] == {"bpp": list(self.RATES), "psnr-rgb": [30, 33, 36, 39]}


def launch(chromium):
    """A browser: the machine's own, or the one that playwright has installed."""
    program = shutil.which("chromium") or shutil.which("google-chrome") or chromium.executable_path
    if not Path(program).exists():
        pytest.skip("needs Chromium")
    return chromium.launch(executable_path=program, args=["--no-sandbox"])


class TestReport:
    def test_everything_is_written(self, finished):
        out = finished
        assert (out / "plots/psnr.svg").read_text().count("<svg") == 1
        assert Image.open(out / "contact-sheet.png").width > 4 * 256
        assert "| 64 tokens |" in (out / "tables.md").read_text()
        assert math.isfinite(json.loads((out / "json/odp.json").read_text())["results"]["bpp"][0])

    def test_the_page_compares_pictures_and_asks_nobody_for_anything(self, finished):
        api = pytest.importorskip("playwright.sync_api", reason="needs the test extra")
        with api.sync_playwright() as playwright:
            browser = launch(playwright.chromium)
            page = browser.new_page()
            requests, errors = [], []
            page.on("request", lambda request: requests.append(request.url))
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda message: errors.append(message.text))
            page.goto((finished / "report.html").as_uri())

            page.select_option("#picture", "b.png")
            page.select_option("#setting", "64 tokens")
            page.select_option("#one", "original")
            page.select_option("#two", "odp")
            loaded = "[...document.images].every(i => i.complete && i.naturalWidth > 0)"
            page.wait_for_function(loaded)
            assert page.inner_text("#twoabout").startswith("odp, ")
            assert page.get_attribute("#left", "src") != page.get_attribute("#right", "src")

            box = page.locator("#view").bounding_box()
            page.mouse.click(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
            clip = "getComputedStyle(document.getElementById('left')).clipPath"
            assert page.evaluate(clip) == "inset(0px 75% 0px 0px)"
            page.focus("#split")
            page.keyboard.press("End")
            assert page.evaluate(clip) in {"inset(0px)", "inset(0px 0% 0px 0px)"}

            assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
            assert errors == []
            browser.close()
