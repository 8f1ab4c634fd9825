"""
What a page must never do: print to the browser's console, violate the CSP, fail to load, open a dialog, or ask another
origin.
"""

from dataclasses import dataclass, field

from playwright.sync_api import BrowserContext, ConsoleMessage, Dialog, Page, Request, Response

# The CSP does not hold for scripts of the test.
REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
});
"""


@dataclass
class Watch:
    """
    What the pages of a browser context have done so far that they should not; a test fails if anything is left.

    A test that makes the console fail on purpose takes what it expects: `assert watch.take() == [...]`.
    """

    origin: str
    troubles: list[str] = field(default_factory=list)

    def follow(self, context: BrowserContext) -> None:
        context.add_init_script(REPORT_VIOLATIONS)
        context.on("page", self._follow_page)
        context.on("request", self._see_request)
        context.on("requestfailed", self._see_failure)
        context.on("response", self._see_response)
        context.on("console", self._see_message)

    def take(self) -> list[str]:
        """Return the troubles so far, and forget them."""
        taken, self.troubles = self.troubles, []
        return taken

    def _follow_page(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.troubles.append(f"error: {error}"))
        page.on("dialog", self._see_dialog)
        page.on("crash", lambda _: self.troubles.append("the page has crashed"))

    def _see_dialog(self, dialog: Dialog) -> None:
        self.troubles.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _see_message(self, message: ConsoleMessage) -> None:
        self.troubles.append(f"console: {message.type}: {message.text}")

    def _see_request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.origin}/", "data:", "blob:")):
            self.troubles.append(f"request to another origin: {request.url}")

    def _see_failure(self, request: Request) -> None:
        # A live part, or what a page still loads, ends with the page when a person goes to another one.
        if request.failure != "net::ERR_ABORTED":
            self.troubles.append(f"failed: {request.method} {request.url}: {request.failure}")

    def _see_response(self, response: Response) -> None:
        if response.status >= 400:
            self.troubles.append(f"status {response.status}: {response.request.method} {response.url}")
