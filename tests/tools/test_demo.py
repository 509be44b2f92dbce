"""The page as an application: what it shows, what it accepts, and what it refuses."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from flask import Flask
from flask.testing import FlaskClient

from recbole_ext.__main__ import main
from recbole_ext.tools.demo.answers import ASKED, MOST_ITEMS
from recbole_ext.tools.demo.app import MOST_BYTES, create_app, trusted_hosts
from recbole_ext.tools.new_users.adapting_recommender import AdaptingRecommender
from recbole_ext.tools.new_users.folding_recommender import FoldingRecommender
from tests.worlds.demo_world import JOBS, liking_run, rating_run, title_of

LOOPBACK = trusted_hosts(IPv4Address("127.0.0.1"))


@pytest.fixture(scope="module")
def rating(tmp_path_factory: pytest.TempPathFactory) -> AdaptingRecommender:
    run = rating_run(tmp_path_factory.mktemp("rating"))
    return AdaptingRecommender(run.config, run.model, run.data[0]._dataset)


@pytest.fixture(scope="module")
def liking(tmp_path_factory: pytest.TempPathFactory) -> FoldingRecommender:
    run = liking_run(tmp_path_factory.mktemp("liking"))
    return FoldingRecommender(run.config, run.model, run.data[0]._dataset)


@pytest.fixture(scope="module")
def rates(rating: AdaptingRecommender) -> FlaskClient:
    return create_app(rating, 4, LOOPBACK).test_client()


@pytest.fixture(scope="module")
def likes(liking: FoldingRecommender) -> FlaskClient:
    return create_app(liking, 4, LOOPBACK).test_client()


class Tags(HTMLParser):
    """All tags of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))

    def named(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag == name]


def test_answers_are_the_recommenders(rates: FlaskClient, rating: AdaptingRecommender) -> None:
    said = {
        "profile": {"job": JOBS[0], "age": "0.5"},
        "ratings": [["i3", 1], ["i2", 5], ["i3", 4.5]],  # the last word on i3 counts
    }
    users = pd.DataFrame([{"user_id": "x", **said["profile"]}])
    ratings = pd.DataFrame({"user_id": "x", "item_id": ["i2", "i3"], "rating": [5, 4.5]})
    best = rating.recommend(users, ratings, topk=4).table
    ask = rating.ask_next(users, ratings, topk=ASKED + 2).table["item_id"].tolist()
    found = rates.post("/answer", json={**said, "skipped": [ask[0], ask[2]]}).get_json()
    assert set(found) == {"ask", "recommended"}
    assert [row["token"] for row in found["recommended"]] == best["item_id"].tolist()
    assert [row["score"] for row in found["recommended"]] == pytest.approx(best["score"].tolist())
    assert [row["token"] for row in found["ask"]] == [ask[1], *ask[3:]]
    first, item = found["recommended"][0], best.iloc[0]
    assert first["title"] == title_of(int(item["item_id"][1:]))
    assert first["details"] == [["genre", item["genre"]]]
    nothing = rating.recommend(pd.DataFrame({"user_id": ["x"]}), topk=4).table
    scores = [row["score"] for row in rates.post("/answer", json={}).get_json()["recommended"]]
    assert scores == pytest.approx(nothing["score"].tolist())
    assert scores != pytest.approx(best["score"].tolist())


def test_who_likes_one_thing_gets_those_of_its_taste(likes: FlaskClient) -> None:
    for item in (4, 5):
        found = likes.post("/answer", json={"ratings": [[str(item), 1]]}).get_json()
        tokens = [int(row["token"]) for row in found["recommended"]]
        assert {token % 2 for token in tokens} == {item % 2}
        assert item not in tokens
        assert found["recommended"][0]["title"] == title_of(tokens[0])
        assert found["recommended"][0]["details"] == []
    everything = [[str(item), 1] for item in range(16)]
    found = likes.post("/answer", json={"ratings": everything}).get_json()
    assert found == {"ask": [], "recommended": []}


def test_the_page_offers_what_the_data_has(rates: FlaskClient, likes: FlaskClient) -> None:
    page = Tags(rates.get("/").text)
    assert [field["name"] for field in page.named("select")] == ["job"]
    assert [option["value"] for option in page.named("option")] == ["", *sorted(JOBS)]
    (age,) = page.named("input")
    assert (age["name"], age["type"]) == ("age", "number")
    assert 0 <= float(age["min"] or "") < 0.1 < 0.9 < float(age["max"] or "") <= 1
    (main,) = page.named("main")
    assert json.loads(main["data-choices"] or "") == [1, 2, 3, 4, 5]
    assert json.loads(main["data-likes"] or "") is False
    (main,) = Tags(likes.get("/").text).named("main")
    assert json.loads(main["data-choices"] or "") == [1]
    assert json.loads(main["data-likes"] or "") is True
    assert not Tags(likes.get("/").text).named("form")


def test_the_page_has_no_code_but_its_own_file(rates: FlaskClient) -> None:
    response = rates.get("/")
    (script,) = Tags(response.text).named("script")
    assert script == {"src": "/static/page.js", "defer": None}
    assert not Tags(response.text).named("style")
    names = {name for _, attributes in Tags(response.text).found for name in attributes}
    assert not {name for name in names if name.startswith("on") or name == "style"}
    assert "<noscript>" in response.text
    assert "{{" not in response.text


@pytest.mark.parametrize("path", ["/", "/static/page.js", "/answer", "/nowhere"])
def test_every_answer_forbids_what_the_page_does_not_need(path: str, rates: FlaskClient) -> None:
    headers = rates.get(path, buffered=True).headers
    policy = headers["Content-Security-Policy"].split("; ")
    assert policy[:3] == ["default-src 'none'", "script-src 'self'", "style-src 'self'"]
    assert {"frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} < set(policy)
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "the request must be an object with no keys but profile, ratings, skipped"),
        ({"code": "1"}, "the request must be an object with no keys but"),
        ({"ratings": {}}, "ratings must be a list of at most 200"),
        ({"ratings": [["i1", 1]] * (MOST_ITEMS + 1)}, "ratings must be a list of at most 200"),
        ({"skipped": ["i1"] * (MOST_ITEMS + 1)}, "skipped must be a list of at most 200"),
        ({"ratings": [["i1"]]}, "ratings must be pairs of an item and a number"),
        ({"ratings": ["i1"]}, "ratings must be pairs of an item and a number"),
        ({"ratings": [["nothing", 1]]}, "there is no such item"),
        ({"ratings": [["[PAD]", 1]]}, "there is no such item"),
        ({"ratings": [[["i1"], 1]]}, "there is no such item"),
        ({"skipped": [1]}, "there is no such item"),
        ({"ratings": [["i1", "5"]]}, "a rating must be a number from 1 to 5"),
        ({"ratings": [["i1", True]]}, "a rating must be a number from 1 to 5"),
        ({"ratings": [["i1", 5.1]]}, "a rating must be a number from 1 to 5"),
        ({"ratings": [["i1", float("nan")]]}, "a rating must be a number from 1 to 5"),
        ({"ratings": [["i1", 10**400]]}, "a rating must be a number from 1 to 5"),
        ({"profile": []}, "profile must be an object"),
        ({"profile": {"user_id": "u1"}}, "profile must have no fields but job, age"),
        ({"profile": {"job": 1}}, "job must be a text of at most 500 characters"),
        ({"profile": {"job": "x" * 501}}, "job must be a text of at most 500 characters"),
        ({"profile": {"age": "old"}}, "age must be a number from"),
        ({"profile": {"age": "nan"}}, "age must be a number from"),
        ({"profile": {"age": "1e39"}}, "age must be a number from"),
    ],
)
def test_what_is_wrong_is_said(body: object, message: str, rates: FlaskClient) -> None:
    response = rates.post("/answer", json=body)
    assert response.status_code == 400
    assert response.get_json().keys() == {"error"}
    assert response.get_json()["error"].startswith(message)


def test_unknown_values_of_the_profile_are_unknown(rates: FlaskClient) -> None:
    nothing = rates.post("/answer", json={}).get_json()
    empty = {"profile": {"job": "", "age": ""}}
    assert rates.post("/answer", json=empty).get_json() == nothing
    assert rates.post("/answer", json={"profile": {"job": "juggler"}}).get_json() == nothing
    assert rates.post("/answer", json={"profile": {"job": "cook"}}).get_json() != nothing


@pytest.mark.parametrize(
    ("sent", "kind", "status", "message"),
    [
        (b"{}", "text/plain", 415, "the request must be application/json"),
        (b"a=1", "application/x-www-form-urlencoded", 415, "the request must be application/json"),
        (b"{", "application/json", 400, "the request is not JSON"),
        (b"\xff\xfe\xff", "application/json", 400, "the request is not in UTF-8"),
        (b"[" * 60000, "application/json", 400, "the request is nested too deeply"),
        (b"9" * 5000, "application/json", 400, ""),
        (b" " * MOST_BYTES + b"{}", "application/json", 413, ""),
    ],
)
def test_what_is_no_request_is_refused(
    sent: bytes, kind: str, status: int, message: str, rates: FlaskClient
) -> None:
    response = rates.post("/answer", data=sent, content_type=kind)
    assert response.status_code == status
    assert response.get_json()["error"].startswith(message)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "a_b", "", "[::1]"])
def test_another_sites_name_does_not_lead_here(host: str, rates: FlaskClient) -> None:
    for response in (
        rates.get("/", headers={"Host": host}),
        rates.get("/static/page.js", headers={"Host": host}),
        rates.post("/answer", json={}, headers={"Host": host}),
    ):
        assert response.status_code == 400
        assert list(response.get_json()) == ["error"]
    for own in ("localhost", "localhost:8000", "127.0.0.1:8000"):
        assert rates.get("/", headers={"Host": own}).status_code == 200


def test_trusted_names_follow_the_address() -> None:
    assert trusted_hosts(IPv4Address("127.0.0.1")) == ["127.0.0.1", "localhost", "127.0.0.1"]
    assert trusted_hosts(IPv4Address("192.168.0.7")) == ["192.168.0.7"]
    assert trusted_hosts(IPv4Address("0.0.0.0")) is None


def test_a_fault_is_told_to_the_log_alone(
    liking: FoldingRecommender, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = create_app(liking).test_client()
    monkeypatch.setattr(liking, "ask_next", lambda *_, **__: 1 / 0)
    response = client.post("/answer", json={})
    assert response.status_code == 500
    assert response.get_json() == {"error": "the server failed; its log says why"}
    assert "ZeroDivisionError" in caplog.text


def test_one_visitor_is_answered_at_a_time(
    liking: FoldingRecommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, original = create_app(liking), liking.recommend
    inside, most = 0, 0

    def slow(*args: Any, **kwargs: Any) -> Any:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.05)
        inside -= 1
        return original(*args, **kwargs)

    monkeypatch.setattr(liking, "recommend", slow)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: app.test_client().post("/answer", json={}), range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert most == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "192.168.0.7", "0.0.0.0"])
def test_who_opens_the_page_to_others_is_warned(
    host: str,
    liking: FoldingRecommender,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    served = []

    def server(app: Flask, *address: object) -> SimpleNamespace:
        served.append((app.config["TRUSTED_HOSTS"], *address))
        return SimpleNamespace(effective_port=81, run=lambda: None, close=lambda: None)

    monkeypatch.setattr("recbole_ext.tools.new_users.load", lambda _: liking)
    monkeypatch.setattr("recbole_ext.tools.demo.server.create_server", server)
    assert main(["demo", "some.pth", f"--host={host}", "--port=0"]) == 0
    assert served == [(trusted_hosts(IPv4Address(host)), host, 0)]
    assert capsys.readouterr().out == f"http://{host}:81/ (Ctrl-C ends it)\n"
    assert ("there is no password" in caplog.text) is not host.startswith("127.")
