"""The web console settles what needs a person, with both workers on a local AWS: by requests, without a browser."""

import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.cookiejar import CookieJar

import pytest

from deploy.local.aws import ROOT
from tests import forked
from tests.integration.command_line import CARD
from tests.integration.conftest import Running
from tests.integration.pipeline import wait_until
from tests.workers.console.document import Form
from tests.workers.console.site import Page

TOKEN = "launch-token-of-the-tests-000"
WHO = {"actor": "ada", "note": "as decided"}


@dataclass(frozen=True)
class Browser:
    """Follows links and sends forms as a browser does, without scripts."""

    address: str
    opener: urllib.request.OpenerDirector

    def get(self, path: str) -> Page:
        return self._send(urllib.request.Request(self.address + path))

    def submit(self, form: Form, **fields: str | Sequence[str]) -> Page:
        return self._post(form.action, {**form.fields, **fields})

    def _post(self, path: str, fields: Mapping[str, str | Sequence[str]]) -> Page:
        body = urllib.parse.urlencode(fields, doseq=True).encode()
        return self._send(urllib.request.Request(self.address + path, body, {"Origin": self.address}))

    def _send(self, request: urllib.request.Request) -> Page:
        try:
            with self.opener.open(request, timeout=60) as answer:
                page = Page(answer.status, dict(answer.headers), answer.read().decode())
        except urllib.error.HTTPError as error:
            page = Page(error.code, dict(error.headers), error.read().decode())
        assert CARD not in page.html
        return page

    def select(self, *case_ids: str) -> Page:
        """Choose cases in a list."""
        csrf = self.get(f"/cases/{case_ids[0]}/resolve").forms[0].fields["csrf"]
        return self._post("/cases/resolve", {"csrf": csrf, "case": [f"1:{case_id}" for case_id in case_ids]})

    def ended(self, page: Page, action: str) -> Page:
        """Load the page of some work until it has ended."""
        path = page.main.one(id="live").attributes.get("hx-sse:connect", "")
        here = re.sub(r"^/live|/live$", "", path)
        if not path:
            return page

        def look() -> Page | None:
            found = self.get(here)
            return None if found.main.all("progress") else found

        done = wait_until(look)
        assert done is not None
        assert action in done.text
        return done


@pytest.fixture(scope="module")
def browser(running: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    stack = running.pipeline.stack
    log = tmp_path_factory.mktemp("console") / "console.log"
    environment = {
        **stack.worker_environment(),
        "STATE_MACHINE": stack.state_machine_arn,
        "CONSOLE_TOKEN": TOKEN,
        "LOG_FORMAT": "",
    }
    with (
        log.open("w") as output,
        forked.Popen(
            ["-m", "workers.console", "--port", "0"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            found = wait_until(lambda: re.search(r"is at (http://\S+?)/\?token", log.read_text()))
            assert found is not None
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
            browser = Browser(found[1], opener)
            assert browser.get(f"/?token={TOKEN}").status == 200
            yield browser
            process.terminate()
            assert process.wait(60) == 0, log.read_text()
        finally:
            process.kill()
    assert CARD not in log.read_text()


def escalate(running: Running, *order_ids: str) -> None:
    """Put orders there that wait for a person, each with its case."""
    sent = []
    for order_id in order_ids:
        running.pipeline.put_order(order_id, Price="-1")
        arn = running.pipeline.arn(f"of-{order_id}")
        body = {"OrderId": order_id, "Reasons": ["INVALID_PRICE"], "ExecutionArn": arn}
        sent.append(running.pipeline.send_escalation(body))
    for message_id in sent:
        running.escalation.wait_for("message.acknowledged", message_id=message_id, outcome="escalated")


def preview(browser: Browser, case_id: str, **fields: str) -> Page:
    return browser.submit(browser.get(f"/cases/{case_id}/resolve").forms[0], **WHO, **fields)


def state(running: Running, order_id: str) -> tuple[str | None, str | None]:
    return running.pipeline.status(order_id), (running.pipeline.case(order_id) or {}).get("State")


def test_one_of_each_kind_and_ten_at_once_are_resolved(running: Running, browser: Browser) -> None:
    ten = [f"console-{n}" for n in range(10)]
    escalate(running, "console-again", "console-sent", "console-gone", *ten)
    again = preview(browser, "console-again", action="resubmit", price="5")
    browser.ended(browser.submit(again.forms[0], **{"card.0": CARD}), "1 resolved")
    sent = preview(browser, "console-sent", action="fulfill", shipment_id="S-1")
    browser.ended(browser.submit(sent.forms[0]), "1 resolved")
    gone = preview(browser, "console-gone", action="cancel")
    browser.ended(browser.submit(gone.forms[0]), "1 resolved")
    many = browser.submit(browser.select(*ten).forms[0], **WHO, action="cancel")
    browser.ended(browser.submit(many.forms[0]), "10 resolved")
    assert state(running, "console-sent") == ("FULFILLED", "RESOLVED")
    assert {state(running, order_id) for order_id in ("console-gone", *ten)} == {("CANCELLED", "RESOLVED")}
    wait_until(lambda: state(running, "console-again") == ("FULFILLED", "RESOLVED"))


def test_a_dead_letter_is_replayed(running: Running, browser: Browser) -> None:
    running.pipeline.put_order("console-letter")
    stack, arn = running.pipeline.stack, running.pipeline.arn("of-console-letter")
    answer = running.pipeline.client("sqs").send_message(
        QueueUrl=stack.order_fulfillment_dlq_url,
        MessageBody=json.dumps({"OrderId": "console-letter", "ExecutionArn": arn}),
    )
    form = browser.get("/dead-letters").forms[-1]

    def look() -> Page | None:
        """Other tests of this stack may look, too: then it is not there for a moment."""
        seen = browser.submit(form, queue="fulfillment")
        if answer["MessageId"] in seen.html:
            return seen
        if any(each.action.endswith("/again") for each in seen.forms):  # It has looked at all that it has found.
            browser.submit(next(each for each in seen.forms if each.action.endswith("/leave")))
        return None

    seen = wait_until(look)
    assert seen is not None
    (selection,) = [each for each in seen.forms if each.action.endswith("/jobs")]
    planned = browser.submit(selection, **WHO, id=answer["MessageId"], action="replay")
    browser.ended(browser.submit(planned.forms[-1]), "1 replayed")
    wait_until(lambda: running.pipeline.status("console-letter") == "FULFILLED")
