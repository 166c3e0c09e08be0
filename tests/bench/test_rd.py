"""`odp bench rd`: the table, resuming, curves, and the report."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onedpiece.bench import Protocol, codecs, metrics, rd
from onedpiece.bench.curves import Point, bd_rate, curves, write_compressai
from onedpiece.bench.metrics import PSNR, Metric, available
from onedpiece.bench.protocol import center_crop
from onedpiece.bench.rd import Run, measure
from onedpiece.bench.report import write_report
from onedpiece.bench.table import Row, Table, read_rows
from onedpiece.errors import OdpError


def rows_of(folder):
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def pictures(make_picture, tmp_path_factory):
    """A folder with two pictures that are not square."""
    folder = tmp_path_factory.mktemp("pictures")
    make_picture(300, 256, seed=1).save(folder / "a.png")
    make_picture(256, 320, seed=2).save(folder / "b.png")
    return folder


@pytest.fixture(scope="module")
def make_run(pictures):
    """(folder for results, options) -> a run over both pictures with 16 tokens of `odp`."""

    def make(out: Path, **options) -> Run:
        named = {path.name: path for path in sorted(pictures.iterdir())}
        defaults = {"codecs": ("odp",), "tokens": (16,), "max_bytes": ()}
        defaults |= {"protocol": Protocol.paper, "model": "default", "device": "cpu", "lpips": None}
        return Run(named, out=out, **(defaults | options))

    return make


@pytest.fixture(scope="module")
def finished(make_run, no_progress, tmp_path_factory):
    """The folder of a whole run over both pictures at two small sizes, by two processes."""
    pytest.importorskip("matplotlib", reason="needs the bench extra")
    out = tmp_path_factory.mktemp("report")
    run = make_run(out, codecs=("odp", "webp", "jpeg"), tokens=(16, 64))
    table, missing = measure(run, 2, no_progress)
    write_report(run, table.rows, available()[0], missing)
    return out


@pytest.fixture
def psnr_only(monkeypatch):
    """Leaves out the slower metrics."""
    monkeypatch.setattr(metrics, "available", lambda lpips=None: ([PSNR], []))
    monkeypatch.setattr(rd, "_metrics", lambda lpips: [PSNR])


class TestTable:
    row = Row("a.png", "webp", "64 tokens", 104, 100, 256, 256, "32x32 m6 q5", {"psnr": 20.5})

    def test_rows_come_back(self, tmp_path):
        no_file = Row("a.png", "jpeg", "64 tokens", 104, None, 256, 256)
        Table(tmp_path / "t.csv", ["psnr"]).add([self.row, no_file])
        assert Table(tmp_path / "t.csv", ["psnr"]).rows == [self.row, no_file]

    def test_names_of_every_script_come_back(self, tmp_path):
        row = replace(self.row, picture="\u0444\u043e\u0442\u043e.png")
        Table(tmp_path / "t.csv", ["psnr"]).add([row])
        assert row.picture in (tmp_path / "t.csv").read_text(encoding="utf-8")
        assert read_rows(tmp_path / "t.csv") == [row]

    def test_an_incomplete_last_line_is_dropped(self, tmp_path):
        path = tmp_path / "t.csv"
        Table(path, ["psnr"]).add([self.row])
        path.write_text(path.read_text() + "a.png,avif,64 tokens,104,9")
        again = Table(path, ["psnr"])
        again.add([self.row])  # a row that the table holds
        assert again.rows == [self.row]
        assert len(path.read_text().splitlines()) == 2

    def test_other_columns_are_refused(self, tmp_path):
        Table(tmp_path / "t.csv", ["psnr"])
        with pytest.raises(OdpError, match="other columns"):
            Table(tmp_path / "t.csv", ["psnr", "ssim"])

    def test_a_file_that_is_no_table_is_refused(self, tmp_path):
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

    @pytest.mark.usefixtures("psnr_only")
    def test_one_process_makes_the_same_rows_as_two(
        self, make_run, no_progress, finished, tmp_path
    ):
        measure(make_run(tmp_path), 1, no_progress)
        rows = {(r["picture"], r["codec"], r["setting"]): r for r in rows_of(finished)}
        for row in rows_of(tmp_path):
            assert row.items() <= rows[row["picture"], row["codec"], row["setting"]].items()

    @pytest.mark.usefixtures("psnr_only")
    def test_an_interrupted_run_resumes(self, make_run, no_progress, tmp_path, monkeypatch):
        run = make_run(tmp_path)
        measure(run, 1, no_progress)
        path = tmp_path / "results.csv"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if not line.startswith("b.png,odp")))
        tasks = []
        run_task = rd._run_task
        monkeypatch.setattr(rd, "_run_task", lambda task: tasks.append(task) or run_task(task))
        measure(run, 1, no_progress)
        assert [(task.picture, task.codec) for task in tasks] == [("b.png", "odp")]
        assert sorted(path.read_text().splitlines(keepends=True)) == sorted(lines)

    def test_another_protocol_needs_another_folder(self, make_run, no_progress, finished):
        with pytest.raises(OdpError, match="another protocol"):
            measure(make_run(finished, protocol=Protocol.native), 1, no_progress)

    @pytest.mark.usefixtures("psnr_only")
    def test_native_measures_whole_pictures(self, make_run, no_progress, tmp_path):
        measure(make_run(tmp_path, protocol=Protocol.native, codecs=()), 1, no_progress)
        sizes = {(row["width"], row["height"]) for row in rows_of(tmp_path)}
        assert sizes == {("300", "256"), ("256", "320")}

    @pytest.mark.usefixtures("psnr_only")
    def test_a_size_in_bytes_limits_all_codecs(self, make_run, no_progress, tmp_path):
        options = {"codecs": ("odp", "webp"), "tokens": (), "max_bytes": (4, 100)}
        measure(make_run(tmp_path, **options), 1, no_progress)
        rows = [row for row in rows_of(tmp_path) if row["codec"] != "thumbhash"]
        assert all(not row["bytes"] or int(row["bytes"]) <= int(row["budget"]) for row in rows)
        with_file = {(row["codec"], row["budget"]) for row in rows if row["bytes"]}
        assert {("odp", "100"), ("webp", "100")} <= with_file
        assert ("odp", "4") not in with_file

    @pytest.mark.usefixtures("psnr_only")
    def test_codecs_that_are_not_installed_are_left_out_and_named(
        self, make_run, no_progress, tmp_path, monkeypatch
    ):
        def missing():
            raise ImportError("it is not installed")

        missing.__name__ = "_webp"
        monkeypatch.setattr(codecs, "_webp", missing)
        _, lines = measure(make_run(tmp_path, codecs=("webp",)), 1, no_progress)
        assert "webp: it is not installed" in lines

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--codecs", "odp,gif"), "'gif' is none of"),
            (("--tokens", "0"), "from 1 to 1024"),
            (("--bytes", "ten"), "no list of numbers"),
            (("--bytes", "0"), "at least 1"),
        ],
    )
    def test_wrong_usage(self, odp, pictures, tmp_path, options, message):
        result = odp("bench", "rd", pictures, "--out", tmp_path / "out", *options)
        assert result.code == 2
        assert message in " ".join(result.stderr.split())

    @pytest.mark.usefixtures("psnr_only")
    def test_the_command_reports_rfid_of_a_network(self, odp, pictures, tmp_path, monkeypatch):
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
        monkeypatch.setattr(os, "cpu_count", lambda: 1)
        options = ("--codecs", "odp", "--tokens", "16", "--features", tmp_path / "mean.onnx")
        result = odp("bench", "rd", pictures, "--out", tmp_path / "out", *options)
        assert result.code == 0, result.stderr
        scores = json.loads((tmp_path / "out/json/odp.json").read_text())["results"]["rfid"]
        assert len(scores) == 1 and scores[0] >= 0


class TestProtocol:
    def test_the_short_edge_is_scaled_to_256_and_the_center_cropped(self):
        pixels = np.zeros((512, 1024, 3), np.uint8)
        pixels[:, 256:768] = 200
        assert center_crop(pixels).shape == (256, 256, 3)
        assert (center_crop(pixels)[:, 4:-4] == 200).all()

    def test_a_square_of_256_is_not_changed(self, make_picture):
        pixels = np.asarray(make_picture())
        assert (center_crop(pixels) == pixels).all()


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

    def test_only_the_common_range_is_compared(self):
        anchor = points(self.RATES, (30, 33, 36, 39))
        delta = bd_rate(anchor, points(self.RATES, (33, 36, 39, 42)), PSNR)
        assert delta.percent == pytest.approx(-50)
        assert delta.overlap == pytest.approx(0.5)

    def test_curves_without_a_common_range_have_no_delta(self):
        anchor = points(self.RATES, (30, 33, 36, 39))
        assert bd_rate(anchor, points(self.RATES, (40, 41, 42, 43)), PSNR) is None
        assert bd_rate(anchor, points((0.1,), (35,)), PSNR) is None

    def test_lower_is_better_for_a_distance(self):
        distance = Metric("psnr", "", PSNR.score, higher=False)
        anchor = points(self.RATES, (0.8, 0.6, 0.4, 0.2))
        half = points([rate / 2 for rate in self.RATES], (0.8, 0.6, 0.4, 0.2))
        assert bd_rate(anchor, half, distance).percent == pytest.approx(-50)

    def test_points_without_gain_or_with_missing_files_do_not_count(self):
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
        points = curves(rows)
        assert points == {"webp": [Point("9 bytes", 7, 0.875, {"psnr": 21}, 2, 3)]}
        assert not points["webp"][0].complete

    def test_json_follows_the_schema_of_compressai(self, tmp_path):
        curve = {"odp": points(self.RATES, (30, 33, 36, 39))}
        write_compressai(curve, tmp_path, "a test")
        data = json.loads((tmp_path / "odp.json").read_text())
        assert set(data) == {"name", "description", "results"}
        assert data["results"] == {"bpp": list(self.RATES), "psnr-rgb": [30, 33, 36, 39]}

    def test_json_has_no_scores_that_are_undefined(self, tmp_path):
        curve = [Point("9 bytes", 7, 0.9, {"psnr": 21.0, "ms_ssim": math.nan}, 1, 1)]
        write_compressai({"odp": curve}, tmp_path, "a test")
        data = json.loads((tmp_path / "odp.json").read_text())
        assert data["results"] == {"bpp": [0.9], "psnr-rgb": [21.0]}


def launch(chromium):
    """The browser of this machine, or the one that playwright has installed."""
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

    def test_the_page_compares_pictures_and_loads_nothing(self, finished):
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

            ground = "getComputedStyle(document.body).backgroundColor"
            page.emulate_media(color_scheme="light")
            assert page.evaluate(ground) == "rgb(255, 255, 255)"
            page.emulate_media(color_scheme="dark")
            assert page.evaluate(ground) == "rgb(24, 24, 24)"

            assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
            assert errors == []
            browser.close()
